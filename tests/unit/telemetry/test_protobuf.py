"""telemetry.protobuf and telemetry.page: what Prometheus reads in protocol buffers, and who gets them."""

from __future__ import annotations

import gzip
import math
import random
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from eyasd.telemetry import page, protobuf
from eyasd.telemetry.distribution import PER_OCTAVE
from eyasd.telemetry.metrics import Metrics
from eyasd.telemetry.page import prefers_protobuf, serve_metrics

# Of Prometheus' message MetricFamily what a page may have: fields of each message, by number, name and type; `*` is repeated.
MESSAGES = {
    "LabelPair": "1 name string, 2 value string",
    "Gauge": "1 value double",
    "Counter": "1 value double",
    "Timestamp": "1 seconds int64, 2 nanos int32",
    "Exemplar": "1 label *LabelPair, 2 value double, 3 timestamp Timestamp",
    "Bucket": "1 cumulative_count uint64, 2 upper_bound double, 3 exemplar Exemplar",
    "BucketSpan": "1 offset sint32, 2 length uint32",
    "Histogram": "1 sample_count uint64, 2 sample_sum double, 3 bucket *Bucket, 5 schema sint32, 6 zero_threshold double, "
    "7 zero_count uint64, 12 positive_span *BucketSpan, 13 positive_delta *sint64",
    "Metric": "1 label *LabelPair, 2 gauge Gauge, 3 counter Counter, 7 histogram Histogram",
    "MetricFamily": "1 name string, 2 help string, 3 type int32, 4 metric *Metric",
}


def message_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package="page", syntax="proto2")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split(", "):
            number, label, kind = field.split()
            made = message.field.add(name=label, number=int(number), label=kinds.LABEL_REPEATED if kind[0] == "*" else 1)
            kind = kind.removeprefix("*")
            if kind in MESSAGES:
                made.type, made.type_name = kinds.TYPE_MESSAGE, f".page.{kind}"
            else:
                made.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("page.MetricFamily"))


FAMILY = message_class()


def read(page: bytes) -> dict[str, Any]:
    """Returns the families of a page by their names; nothing of it may be left unread."""
    families, place = {}, 0
    while place < len(page):
        length, shift = 0, 0
        while True:
            byte = page[place]
            length, shift, place = length | (byte & 0x7F) << shift, shift + 7, place + 1
            if byte < 0x80:
                break
        family = FAMILY.FromString(page[place : place + length])
        known = family.ByteSize()
        family.DiscardUnknownFields()
        assert family.ByteSize() == known
        families[family.name], place = family, place + length
    return families


def labels(metric: Any) -> dict[str, str]:
    return {pair.name: pair.value for pair in metric.label}


def buckets(histogram: Any) -> dict[int, int]:
    """Returns the counts of the native buckets."""
    found: dict[int, int] = {}
    deltas, bucket, count = iter(histogram.positive_delta), 0, 0
    for span in histogram.positive_span:
        bucket += span.offset
        for _ in range(span.length):
            count += next(deltas)
            found[bucket], bucket = count, bucket + 1
    assert next(deltas, None) is None
    return found


def test_a_page_has_all_that_was_counted() -> None:
    metrics = Metrics()
    metrics.rpcs.labels("A/B", "OK").inc(3)
    metrics.queue_images.labels("colours", "1").set(-1.5)
    series, drawn = metrics.stage_seconds.labels("colours", "1", "total"), random.Random(0)
    values = [drawn.lognormvariate(-3, 2) for _ in range(3000)]
    for value in values:
        series.observe(value, "4bf92f3577b34da6a3ce929d0e0e4736")
    series.observe(0.0)
    families = read(protobuf.page(metrics.registry.collect()))
    (rpcs,) = families["eyas_rpcs_total"].metric
    assert (families["eyas_rpcs_total"].type, labels(rpcs), rpcs.counter.value) == (0, {"method": "A/B", "code": "OK"}, 3)
    (queue,) = families["eyas_queue_images"].metric
    assert (families["eyas_queue_images"].type, queue.gauge.value) == (1, -1.5)
    assert not families["eyas_training_loss"].metric
    (total,) = families["eyas_stage_seconds"].metric
    histogram = total.histogram
    assert labels(total) == {"model": "colours", "version": "1", "stage": "total"}
    assert (families["eyas_stage_seconds"].type, histogram.sample_count) == (4, 3001)
    assert histogram.sample_sum == pytest.approx(sum(values))
    for bucket in histogram.bucket:
        assert bucket.cumulative_count == 1 + sum(value <= bucket.upper_bound for value in values)
        if bucket.HasField("exemplar"):
            assert bucket.exemplar.value in values
            assert labels(bucket.exemplar) == {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
            assert bucket.exemplar.timestamp.seconds > 1_700_000_000
    assert histogram.bucket[-1].upper_bound == math.inf
    found = buckets(histogram)
    assert (histogram.schema, histogram.zero_count + sum(found.values())) == (3, 3001)
    assert histogram.zero_count == 1 + sum(value <= histogram.zero_threshold for value in values)
    highest = max(found)
    for bucket, count in found.items():
        if bucket < highest:
            low, high = (2 ** (edge / PER_OCTAVE) for edge in (bucket - 1, bucket))
            assert count == sum(low < value <= high for value in values)


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        # Prometheus 2.42 with --enable-feature=native-histograms, and without; 3 with scrape_native_histograms; curl; a browser.
        (
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
                "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,"
                "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
            ),
            True,
        ),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", False),
        (
            (
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited;q=0.6,"
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.1"
            ),
            True,
        ),
        (
            (
                "text/plain;version=0.0.4,"
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.5"
            ),
            False,
        ),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", False),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=none", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_who_prefers_protocol_buffers(accept: str, wanted: bool) -> None:
    assert prefers_protobuf(accept) is wanted


@pytest.fixture
def address() -> Iterator[str]:
    metrics = Metrics()
    metrics.stage_seconds.labels("colours", "1", "total").observe(0.2, "4bf92f3577b34da6a3ce929d0e0e4736")
    port, close = serve_metrics("127.0.0.1:0", metrics.registry)
    yield f"http://127.0.0.1:{port}/metrics"
    close()


def test_who_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(page, "_PATIENCE_SECONDS", 0.05)
    port, close = serve_metrics("127.0.0.1:0", Metrics().registry)
    for said in (b"", b"GET /met"):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as silent:
            silent.sendall(said)
            assert silent.recv(1) == b""
    close()
    assert capfd.readouterr().err == ""


def test_a_crowd_that_says_nothing_makes_room(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(page, "_PATIENCE_SECONDS", 60.0)
    port = int(address.partition("//")[2].partition("/")[0].rpartition(":")[2])
    with ExitStack() as held:
        crowd = [held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30)) for _ in range(100)]
        assert [one.recv(1) for one in crowd[:68]] == [b""] * 68
        with urllib.request.urlopen(address, timeout=30) as said:
            assert b"eyas_stage_seconds" in said.read()
        crowd[-1].sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert crowd[-1].recv(9) == b"HTTP/1.0 "


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_each_is_given_the_form_that_it_likes(address: str, encoding: str) -> None:
    def asked(accept: str) -> tuple[str, bytes]:
        with urllib.request.urlopen(
            urllib.request.Request(address, headers={"Accept": accept, "Accept-Encoding": encoding})
        ) as said:
            body = said.read()
            assert said.headers["Content-Encoding"] == (encoding or None)
            return said.headers["Content-Type"], gzip.decompress(body) if encoding else body

    kind, page = asked(protobuf.CONTENT_TYPE)
    assert kind == protobuf.CONTENT_TYPE
    assert len(read(page)["eyas_stage_seconds"].metric) == 1
    kind, page = asked("application/openmetrics-text;version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert b'# {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 0.2' in page
    kind, page = asked("*/*")
    assert kind.startswith("text/plain")
    assert b'eyas_stage_seconds_bucket{le="0.25",model="colours",stage="total",version="1"} 1.0' in page
