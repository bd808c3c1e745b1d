"""What a diagnosis is made of: one explanation a cause, and what they leave over together."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from embcheck.checks.record import Json

__all__ = ["ABSTAINED", "HARMLESS", "Diagnosis", "Explanation"]

HARMLESS = frozenset({"identical", "cast", "reordered"})
"""Causes after which every claim about the geometry is what it was."""
ABSTAINED = "none of these"
_NAMED = 20


@dataclass(frozen=True, slots=True)
class Explanation:
    """One cause, as fitted."""

    cause: str
    parameters: Mapping[str, float | int | str] = field(default_factory=dict)
    residual: float = 0.0
    """What is left once it is undone, as a share of how far rows lie from their mean: 0 where all is explained."""
    rows: tuple[int, ...] = ()
    """Candidate rows that it concerns, where it does not concern all."""
    sentence: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What made a candidate of its reference, causes in the order in which they were applied."""

    reference: str
    candidate: str
    explanations: tuple[Explanation, ...]
    residual: float
    """Share of the distance of rows from their mean that no cause accounts for."""
    runner_up: str | None = None
    """The next best account that was turned down, and why, in words."""
    tokens: Mapping[int, str] = field(default_factory=dict)
    """Tokens of the first rows that explanations name."""
    abstained: str | None = None
    """Why no cause stands: what the difference looks like, in words."""

    @property
    def cause(self) -> str:
        """The causes in one word each, or that none fits."""
        return ABSTAINED if self.abstained else " + ".join(e.cause for e in self.explanations)

    def is_harmless(self, allowed: Collection[str] = ()) -> bool:
        """Whether it is explained, and by nothing but what changes no geometry or is allowed."""
        return self.abstained is None and all(e.cause in HARMLESS or e.cause in allowed for e in self.explanations)

    def record(self) -> Json:
        """JSON types, schema ``embcheck-diagnosis/1``."""
        return {
            "schema": "embcheck-diagnosis/1",
            "reference": self.reference,
            "candidate": self.candidate,
            "cause": self.cause,
            "residual": self.residual,
            "runner_up": self.runner_up,
            "abstained": self.abstained,
            "explanations": [
                asdict(e)
                | {
                    "parameters": dict(e.parameters),
                    "rows": len(e.rows),
                    "first": [{"id": row, "token": self.tokens.get(row)} for row in e.rows[:_NAMED]],
                }
                for e in self.explanations
            ],
        }
