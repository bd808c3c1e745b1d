"""What a cause says of itself once it is fitted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Explanation"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One cause, with what was fitted of it and what it leaves over."""

    cause: str
    """Its name, such as ``pooling``; ``identical`` where nothing happened."""
    parameters: Mapping[str, float | int | str] = field(default_factory=dict)
    residual: float = 0.0
    """What is left once it is accounted for, as a share: of the spread of rows, or of an encoder's vectors."""
    rows: tuple[int, ...] = ()
    """Candidate rows that it concerns, where it does not concern all."""
    sentence: str = ""
    """What happened, in one sentence."""
    remedy: str = ""
    """What to do about it, in one sentence."""
