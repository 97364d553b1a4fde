"""What a siege tells of itself, as docs/faults.md has it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .siege import Siege


def rows(siege: Siege) -> Iterator[str]:
    """Yields the rows: what was done, how often, the calls that failed, the time until all was well; and the sums."""
    yield "| to whom | done | times | calls that failed | back after, median | 95th percentile | longest |"
    yield "|---|---|---|---|---|---|---|"
    for (role, name), seen in sorted(siege.seen.items()):
        back = seen.back_seconds
        times = [f"{np.percentile(back, share):.2f} s" for share in (50, 95, 100)] if back else ["-"] * 3
        yield f"| {role} | {name} | {seen.times} | {seen.failed if back else '-'} | {' | '.join(times)} |"
    record, history = siege.record, siege.history
    answers = ", ".join(f"{count:,} over {door}" for door, count in sorted(record.answers.items()))
    told = ", ".join(f"{count:,} {code}" for code, count in sorted(record.told.items())) or "none"
    acknowledged = sum(move.record is not None for moves in record.moves.values() for move in moves)
    yield f"{sum(seen.times for seen in siege.seen.values())} faults; right answers: {answers}; calls that failed: {told}"
    yield f"{len(history.promised)} jobs, {len(record.job_names)} versions that answered, {acknowledged} moves acknowledged"
    yield f"{len(siege.violations)} promises broken" + (f"; not tried: {siege.house.without}" if siege.house.without else "")
