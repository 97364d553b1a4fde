"""A page of metrics in Prometheus' protocol buffers, the only form that carries native histograms.

    MetricFamily, each after its length, as `io.prometheus.client.metrics.proto` has it

Written out by hand, forty lines, so that this room needs no protobuf; a real Prometheus reads it in the tests.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client.metrics_core import Metric

from eyasd.telemetry.distribution import SCHEMA, Distribution, Grid, Tally

CONTENT_TYPE: Final = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
_COUNTER, _GAUGE, _HISTOGRAM = 0, 1, 4
_KINDS: Final = {"counter": _COUNTER, "gauge": _GAUGE, "histogram": _HISTOGRAM}


def page(metrics: Iterable[Metric]) -> bytes:
    """Returns the page: counters, gauges, and histograms in both forms, with exemplars."""
    out = bytearray()
    for metric in metrics:
        family = _family(metric)
        out += _varint(len(family)) + family
    return bytes(out)


def _family(metric: Metric) -> bytes:
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    if isinstance(metric, Distribution):
        series = [_labels(tally.labels) + _message(7, _histogram(metric.grid, tally)) for tally in metric.tallies]
    else:
        place = 3 if metric.type == "counter" else 2
        series = [_labels(sample.labels) + _message(place, _double(1, sample.value)) for sample in metric.samples]
    head = _text(1, name) + _text(2, metric.documentation) + _number(3, _KINDS[metric.type])
    return head + b"".join(_message(4, one) for one in series)


def _histogram(grid: Grid, tally: Tally) -> bytes:
    exemplars = {bucket: (trace, value, at) for bucket, trace, value, at in tally.exemplars}
    parts, below = [_double(2, tally.total)], 0
    for bucket, (count, bound) in enumerate(zip(grid.classic(tally.cells), (*grid.bounds, float("inf")), strict=True)):
        below += count
        exemplar = _message(3, _exemplar(*exemplars[bucket])) if bucket in exemplars else b""
        parts.append(_message(3, _number(1, below) + _double(2, bound) + exemplar))
    native = grid.native(tally.cells)
    parts += [_number(1, below), _signed(5, SCHEMA), _double(6, grid.zero), _number(7, native.pop(grid.lowest, 0))]
    before, last = 0, 0
    spans: list[list[int]] = []
    for bucket, count in native.items():
        if spans and bucket == last + 1:
            spans[-1][1] += 1
        else:
            spans.append([bucket - last - 1 if spans else bucket, 1])
        parts.append(_signed(13, count - before))
        before, last = count, bucket
    parts += [_message(12, _signed(1, offset) + _number(2, length)) for offset, length in spans]
    return b"".join(parts)


def _exemplar(trace_id: str, value: float, at: float) -> bytes:
    seconds, nanos = divmod(int(at * 1e9), 1_000_000_000)
    return _labels({"trace_id": trace_id}) + _double(2, value) + _message(3, _number(1, seconds) + _number(2, nanos))


def _labels(labels: Mapping[str, str]) -> bytes:
    return b"".join(_message(1, _text(1, name) + _text(2, value)) for name, value in labels.items())


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _signed(field: int, value: int) -> bytes:
    return _number(field, value << 1 if value >= 0 else (-value << 1) - 1)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())
