"""serving.feedback.ids: an id says what it was made of, to whoever has the key, and anything else says nothing."""

from __future__ import annotations

import string
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyasd.serving.answer import Prediction
from eyasd.serving.feedback.ids import PredictionIds, nonce_of
from eyasd.serving.feedback.judged import Stamp

KEY = "the key of the tests"
IDS = PredictionIds([KEY], now=lambda: 1_700_000_000.9)
CHARACTERS = string.ascii_letters + string.digits + "-_"


def mint(ids: PredictionIds = IDS, *, several: bool = False) -> str:
    row = np.array([0.25, 0.75, 0.5, 0.625], np.float32)
    if several:  # the most probable label is not one of those that apply
        first = Prediction("said", 3, 0.625, True)
        return ids.mint("colours", 7, first, row, (0.5, 0.875, 0.5, 0.5), routed=False, canary=False)
    return ids.mint("colours", 7, Prediction("said", 1, 0.75, True), row, None, routed=True, canary=True)


def test_an_id_says_what_it_was_made_of() -> None:
    prediction_id = mint()
    assert len(prediction_id) < 80
    assert prediction_id[0].isalpha()  # never taken for an option of a command
    assert IDS.read(prediction_id) == Stamp(
        nonce_of(prediction_id), 1_700_000_000, "colours", 7, 1, 0.75, (1,), multi_label=False, routed=True, canary=True
    )
    assert len({mint() for _ in range(1000)}) == 1000


def test_of_a_multi_label_version_it_has_every_label_that_applies() -> None:
    stamp = IDS.read(mint(several=True))
    assert stamp is not None
    assert (stamp.class_index, stamp.confidence, stamp.applied) == (1, 0.75, (2, 3))
    assert (stamp.multi_label, stamp.routed, stamp.canary) == (True, False, False)


def test_the_first_key_signs_and_every_one_is_taken() -> None:
    turned = PredictionIds(["a new key for all of them", KEY])
    assert turned.read(mint()) is not None
    assert IDS.read(mint(turned)) is None
    assert PredictionIds(["somebody else's key"]).read(mint()) is None


@given(st.text() | st.text(CHARACTERS) | st.binary().map(lambda content: content.decode("latin-1")))
def test_any_text_is_no_id(text: str) -> None:
    assert IDS.read(text) is None


@pytest.mark.parametrize("several", [False, True])
def test_an_id_with_another_character_anywhere_is_none(several: bool) -> None:
    prediction_id = mint(several=several)
    for place, character in enumerate(prediction_id):
        for other in CHARACTERS.replace(character, ""):
            assert IDS.read(prediction_id[:place] + other + prediction_id[place + 1 :]) is None


@given(st.data())
def test_an_id_that_is_cut_short_or_goes_on_is_none(data: st.DataObject) -> None:
    prediction_id = mint(several=True)
    assert IDS.read(prediction_id[: data.draw(st.integers(0, len(prediction_id) - 1))]) is None
    assert IDS.read(prediction_id + data.draw(st.text(CHARACTERS + "= \n", min_size=1))) is None


def test_what_the_key_has_signed_for_a_later_form_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyasd.serving.feedback.ids._FORM", 0x20)
    later = mint()
    monkeypatch.undo()
    assert IDS.read(later) is None
    monkeypatch.setattr("eyasd.serving.feedback.ids._HEAD", struct.Struct(">B8sIIIfB500x"))  # and longer
    assert IDS.read(later) is None
