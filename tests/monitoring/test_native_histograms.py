"""A real Prometheus reads the page in protocol buffers, and has better quantiles of native histograms than of classic ones."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from eyasd.telemetry.metrics import Metrics
from eyasd.telemetry.page import serve_metrics
from prometheus import PROGRAM, Prometheus


@pytest.mark.skipif(PROGRAM is None, reason="Prometheus is not installed")
def test_prometheus_reads_native_histograms(tmp_path: Path, metrics: Metrics) -> None:
    drawn = random.Random(0)
    values = sorted(drawn.lognormvariate(-3, 0.6) for _ in range(5000))
    for value in values:
        metrics.stage_seconds.labels("colours", "1", "total").observe(value, "4bf92f3577b34da6a3ce929d0e0e4736")
    metrics.stage_seconds.labels("colours", "1", "decode")  # nothing was observed there
    metrics.requests.labels("colours", "1", "OK").inc(5000)
    port, close = serve_metrics("127.0.0.1:0", metrics.registry)
    try:
        with Prometheus(tmp_path, {"eyas": f"127.0.0.1:{port}"}, [], native_histograms=True) as prometheus:

            def asked(expression: str) -> list[float]:
                return [float(found["value"][1]) for found in prometheus.query(expression)]

            while not (counts := asked("histogram_count(eyas_stage_seconds)")):
                time.sleep(0.1)
            assert sorted(counts) == [0, 5000]
            assert asked("up") == [1]
            assert asked('eyas_requests_total{code="OK",model="colours",version="1"}') == [5000]
            assert asked('histogram_sum(eyas_stage_seconds{stage="total"})') == [pytest.approx(sum(values))]
            for quantile in (0.5, 0.9, 0.99):
                (known,) = asked(f'histogram_quantile({quantile}, eyas_stage_seconds{{stage="total"}})')
                assert known == pytest.approx(values[int(quantile * 5000)], rel=0.044)
    finally:
        close()
