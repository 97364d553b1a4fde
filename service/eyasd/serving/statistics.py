"""What one version has done since it was loaded: sums that only grow, for those who take two looks and subtract.

Prometheus has the same and more, as distributions and not by version; this is for protocols that want it so.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from eyasd.serving.answer import Classified, Labelled


@dataclass(slots=True)
class Tally:
    """How often something was done, and how long it took in all, in seconds."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Counts once more."""
        self.count += 1
        self.seconds += seconds


@dataclass(slots=True)
class Statistics:
    """Sums over the requests that a version had, of whatever protocol.

    Attributes:
        answered: requests, from arrival to answer.
        failed: requests that failed after the version was found for them, or whose callers left.
        preprocessing: of each answered request, its slowest picture's decoding.
        queue: likewise, the wait for a batch.
        inference: likewise, the batch.
        rest: of each answered request, what was neither of the three.
        images: pictures that got labels.
        batches: that the network ran.
        last_answer: when the last request was answered, seconds since 1970.
    """

    answered: Tally = field(default_factory=Tally)
    failed: Tally = field(default_factory=Tally)
    preprocessing: Tally = field(default_factory=Tally)
    queue: Tally = field(default_factory=Tally)
    inference: Tally = field(default_factory=Tally)
    rest: Tally = field(default_factory=Tally)
    images: int = 0
    batches: int = 0
    last_answer: float = 0.0

    def observe(self, classified: Classified, seconds: float) -> None:
        """Counts an answered request, which took so long in all."""
        timing = classified.timing
        self.answered.add(seconds)
        self.preprocessing.add(timing.preprocessing)
        self.queue.add(timing.queue)
        self.inference.add(timing.inference)
        # The slowest stages may be of different pictures, and so be longer than the request.
        self.rest.add(max(0.0, seconds - timing.preprocessing - timing.queue - timing.inference))
        for result in classified.results:
            self.images += isinstance(result, Labelled)
        self.last_answer = time.time()
