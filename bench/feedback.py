"""What prediction ids cost: `python bench/feedback.py`.

Processor time of one thread, the least of many rounds: of an id that is made, as every picture has one; of one that is read, as
every report has one; of its signature, and of the same by HMAC, each beside the making of an id.
"""

from __future__ import annotations

import hmac
import time
import timeit
from collections.abc import Callable

import machine
import numpy as np

from eyasd.serving.answer import Prediction
from eyasd.serving.feedback.ids import PredictionIds, _sign, _signer

KEY = "a key of as many characters as it takes"
LABELS = 20
CALLS, ROUNDS = 10_000, 30


def main() -> None:
    ids = PredictionIds([KEY])
    probabilities = np.random.default_rng(0).random(LABELS).astype(np.float32)
    best = Prediction("shirt", int(probabilities.argmax()), float(probabilities.max()), True)
    thresholds = (0.5,) * LABELS
    body, signer, key = bytes(50), _signer(KEY), bytes(32)

    def mint(of: tuple[float, ...] | None = None) -> str:
        return ids.mint("clothing", 3, best, probabilities, of, routed=True, canary=False)

    prediction_id = mint()
    measured = {
        "made": mint,
        f"made, multi-label, {LABELS} labels": lambda: mint(thresholds),
        "read": lambda: ids.read(prediction_id),
        "the signature": lambda: _sign(signer, body),
        "HMAC-SHA256 instead": lambda: hmac.digest(key, body, "sha256"),
    }
    print(f"{machine.describe()}\n\n| an id of {len(prediction_id)} characters | us | as a multiple |\n|---|---|---|")
    one = microseconds(mint)
    for name, run in measured.items():
        print(f"| {name} | {microseconds(run):.2f} | {microseconds(run) / one:.2f} |")


def microseconds(run: Callable[[], object]) -> float:
    return min(timeit.repeat(run, number=CALLS, repeat=ROUNDS, timer=time.thread_time)) / CALLS * 1e6


if __name__ == "__main__":
    main()
