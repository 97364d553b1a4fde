"""serving.network.bound: the same answers from buffers that stay, and no trust in a replay that answers for other pictures."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from builders import SIDE, colour_network, golden
from eyasd.core.bundle import OOD_SCORE, PROBABILITIES
from eyasd.serving.network.bound import Bound
from eyasd.serving.network.providers import CPU, session_options

IMAGES = golden().images


@pytest.fixture
def session() -> ort.InferenceSession:
    return ort.InferenceSession(colour_network(ood_score=True), session_options(CPU, 1), providers=[CPU])


def bound(session: ort.InferenceSession, graph: bool = False) -> Bound:
    return Bound(session, (4, SIDE, SIDE, 3), {PROBABILITIES: (3,), OOD_SCORE: ()}, device="cpu", graph=graph)


@pytest.mark.parametrize("count", [1, 3, 4])
def test_each_picture_has_its_own_answer_whatever_was_in_the_buffers(session: ort.InferenceSession, count: int) -> None:
    buffers = bound(session)
    buffers.run(np.full((4, SIDE, SIDE, 3), 7, np.uint8))
    images = IMAGES[[2, 0, 1, 2]][:count]
    found = buffers.run(images)
    assert np.allclose(found[PROBABILITIES], golden().probabilities[[2, 0, 1, 2]][:count], atol=1e-6)
    assert (found[OOD_SCORE] == images.max(axis=(1, 2, 3))).all()


def test_an_answer_outlives_the_next_run(session: ort.InferenceSession) -> None:
    buffers = bound(session)
    first = buffers.run(IMAGES[:1])[PROBABILITIES]
    buffers.run(IMAGES[1:2])
    assert np.allclose(first, golden().probabilities[:1], atol=1e-6)


def test_a_replay_that_answers_alike_is_kept(session: ort.InferenceSession) -> None:
    buffers = bound(session, graph=True)  # a CPU runs it as any other
    assert buffers.check_graph(IMAGES[0]) == ""
    assert buffers.graph


class Replayed:
    """Runs like a session, but after `captures` recorded runs replays the answer of the last one."""

    def __init__(self, session: ort.InferenceSession, captures: int, fails: bool = False) -> None:
        self._session, self._captures, self._fails = session, captures, fails
        self.io_binding = session.io_binding

    def run_with_iobinding(self, binding: ort.IOBinding, options: ort.RunOptions) -> None:
        if options.get_run_config_entry("gpu_graph_id") != "-1":
            if self._fails:
                raise RuntimeError("operation not permitted when stream is capturing")
            self._captures -= 1
            if self._captures < 0:
                return
        self._session.run_with_iobinding(binding, options)


def test_a_replay_that_answers_for_the_pictures_before_is_given_up(session: ort.InferenceSession) -> None:
    buffers = bound(Replayed(session, 1), graph=True)  # type: ignore[arg-type]
    assert "batches of 4 differ by" in buffers.check_graph(IMAGES[0])
    assert not buffers.graph
    assert np.allclose(buffers.run(IMAGES)[PROBABILITIES], golden().probabilities, atol=1e-6)


def test_so_is_one_that_cannot_be_recorded(session: ort.InferenceSession) -> None:
    buffers = bound(Replayed(session, 0, fails=True), graph=True)  # type: ignore[arg-type]
    says = buffers.check_graph(IMAGES[0])
    assert says == "batches of 4 cannot be captured: operation not permitted when stream is capturing"
    assert np.allclose(buffers.run(IMAGES)[PROBABILITIES], golden().probabilities, atol=1e-6)
