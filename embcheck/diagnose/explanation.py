"""What made a candidate out of a reference, as far as it can be told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """One cause, with what was fitted of it and what it leaves over."""

    cause: str
    """Its name, such as ``pooling``; ``identical`` where nothing happened."""
    parameters: dict[str, float | int | str]
    residual: float
    """Length of what is left over as a share of the reference's: root mean square, over rows nothing was fitted to."""
    rows: tuple[int, ...]
    """The rows that it changed."""
    sentence: str
    """What happened, in one sentence."""
    remedy: str
    """What to do about it, in one sentence."""
