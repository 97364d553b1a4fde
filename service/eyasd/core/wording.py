"""Words of the sentences that people read."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Returns how many there are of what a regular noun names: `1 picture`, `2,000 pictures`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
