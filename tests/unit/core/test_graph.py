"""core.graph: what a network may not hold is refused from its bytes, whatever they are, and soon."""

from __future__ import annotations

import random
from contextlib import suppress

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import colour_network
from eyasd.core import graph
from eyasd.core.errors import BrokenBundle
from eyasd.core.graph import OPERATORS, check_graph
from hostile.networks import chain, refused

REFUSED = refused()


@pytest.mark.parametrize("model", [colour_network(), colour_network(work=8, maps=True, ood_score=True, brittle=True), chain(100)])
def test_a_network_for_pictures_is_let_through(model: bytes) -> None:
    check_graph(model, "model.onnx")


@pytest.mark.parametrize("model", REFUSED.values(), ids=REFUSED)
def test_what_could_do_harm_is_refused_in_a_sentence(model: bytes) -> None:
    with pytest.raises(BrokenBundle, match=r"^model\.onnx cannot be loaded: [^\n]{1,300}\.$"):
        check_graph(model, "model.onnx")


def test_a_network_of_very_many_nodes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "MAX_NODES", 103)
    check_graph(chain(98), "model.onnx")
    with pytest.raises(BrokenBundle, match="more than 103 nodes"):
        check_graph(chain(100), "model.onnx")


@pytest.mark.parametrize("model", [b"\x72\x00" * 5_000, b"\x3a\xfe\x0a" + b"\x2a\xfb\x0a" + b"\x0a\xf8\x0a" + b"\x01" * 1400])
def test_a_file_of_very_many_fields_is_refused(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "MAX_FIELDS", 1000)
    with pytest.raises(BrokenBundle, match="more than 1,000 fields"):
        check_graph(model, "model.onnx")


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_graph_or_are_refused(content: bytes) -> None:
    with suppress(BrokenBundle):
        check_graph(content, "model.onnx")


def operators(model: bytes) -> set[tuple[str, str]]:
    """The operators that onnx, and so ONNX Runtime, finds in a file."""
    try:
        found = onnx.load_from_string(model)
    except Exception:  # noqa: BLE001 - of protobuf, which has several
        return set()
    inner = [attribute for node in found.graph.node for attribute in node.attribute if attribute.HasField("g") or attribute.graphs]
    assert not inner
    assert not found.functions
    assert not found.graph.sparse_initializer
    assert not any(weight.external_data or weight.data_location for weight in found.graph.initializer)
    return {(node.domain, node.op_type) for node in found.graph.node}


def changed(rng: random.Random, content: bytes) -> bytes:
    """Returns the content with a few bytes flipped, taken out, doubled or put in from elsewhere."""
    made = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at, other, length = rng.randrange(len(made)), rng.randrange(len(made)), rng.randint(1, 40)
        match rng.randrange(4):
            case 0:
                made[at] ^= 1 << rng.randrange(8)
            case 1:
                del made[at : at + length]
            case 2:
                made[at:at] = made[other : other + length]
            case _:
                made[at : at + length] = made[other : other + length]
        if not made:
            return b""
    return bytes(made)


def test_whatever_is_let_through_holds_for_protobuf_what_was_read_here(request: pytest.FixtureRequest) -> None:
    """Nothing is hidden from this reader that protobuf would see."""
    rng, seeds = random.Random(0), [*[colour_network()] * 30, *(model for model in REFUSED.values() if len(model) < 2000)]
    passed = 0
    for _ in range(500_000 if request.config.getoption("all_faults") else 2000):
        model = changed(rng, rng.choice(seeds) or b"\x08\x0a")
        try:
            check_graph(model, "model.onnx")
        except BrokenBundle:
            continue
        passed += 1
        assert all(domain in {"", "ai.onnx"} and kind in OPERATORS for domain, kind in operators(model))
    assert passed
