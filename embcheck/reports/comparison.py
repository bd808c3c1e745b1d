"""What ``embcheck compare`` finds, as values: the types of ``embcheck-comparison/1``, which ``embcheck report`` reads.

Drift comes from `embcheck.baseline.drift`, changes from `embcheck.baseline.gate`; views of both are beside this module.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr

from embcheck.checks.record import Change, Count, Name, Number
from embcheck.reports.document import Document
from embcheck.reports.frame import frame
from embcheck.reports.text import number
from embcheck.reports.wording import change_text
from embcheck.text import inert_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

SCHEMA: Literal["embcheck-comparison/1"] = "embcheck-comparison/1"
_STATES = ("error", "regressed", "undecided", "stale", "not compared", "new", "improved", "match")
COLUMNS = {
    "check": "object",
    "state": "object",
    "passes": "bool",
    "before": "float64",
    "after": "float64",
    "change": "float64",
    "low": "float64",
    "high": "float64",
    "margin": "float64",
    "comparison": "object",
    "n": "Int64",
    "unit": "object",
    "reason": "object",
}
"""By name, the pandas type of a column of a comparison as a frame."""
ORDER = "those that need a look first; then by how much of their margin they used"
"""How the checks are listed, in words."""


class Token(Struct, frozen=True, omit_defaults=True):
    """A token of one of the models, with its row."""

    id: Count
    token: str
    new_id: Count | None = None
    """Its row in the second model, where that is another."""
    value: Number | None = None


class Fate(Struct, frozen=True):
    """How many tokens met a fate, and the first of them."""

    rows: Count
    first: tuple[Token, ...]


class Fates(Struct, frozen=True):
    """What became of the tokens."""

    paired: Count
    died: Fate
    came: Fate
    went: Fate
    moved_id: Fate
    ambiguous: Fate


class Drift(Struct, frozen=True, kw_only=True):
    """How far the rows of tokens that both models have are apart, or the reason why that is not known."""

    tokens: Fates | None = None
    reason: str | None = None
    rows: Count | None = None
    identical_rows: Count | None = None
    beyond: Annotated[Count | None, Meta(description="Rows that moved farther than --max-moved allows.")] = None
    cosine: dict[str, Number | None] = {}
    distance: Annotated[dict[str, Number | None], Meta(description="|new - old| / |old|, row by row.")] = {}
    norm_ratio: dict[str, Number | None] = {}
    mean_shift: Number | None = None
    procrustes_residual: Number | None = None
    neighbor_jaccard: Number | None = None
    neighbors: Count | None = None
    moved: Annotated[tuple[Token, ...], Meta(description="Rows that turned most, with their cosines.")] = ()
    farthest: Annotated[tuple[Token, ...], Meta(description="Rows that moved farthest, with their distances.")] = ()

    @property
    def overlap_of(self) -> str:
        """What ``neighbor_jaccard`` is."""
        return f"mean Jaccard of the {'ten' if self.neighbors == 10 else self.neighbors} nearest rows"

    def statistics(self) -> Iterator[tuple[str, str]]:
        """What was measured, in words, with its numbers; nothing where nothing was."""
        if self.distance:
            yield "distance of a row to itself, in its lengths", _range(self.distance, "99%", "max")
            yield "cosine of a row with itself", _range(self.cosine, "1%", "min")
            yield "length, new by old", _range(self.norm_ratio, "min", "max")
            yield "shift of the mean, in mean lengths", number(self.mean_shift)
            yield "left over by the best rotation", number(self.procrustes_residual)
        if self.neighbor_jaccard is not None:
            yield self.overlap_of, number(self.neighbor_jaccard)


class Limit(Struct, frozen=True):
    """What drift may be, and whether it is."""

    option: Name
    bound: Number
    value: Number | None
    passes: bool
    reason: str

    @property
    def text(self) -> str:
        """Whether it is kept, option, bound and reason."""
        return f"{'passes' if self.passes else 'fails'} --{self.option} {number(self.bound)}: {self.reason}"


class Compared(Struct, frozen=True):
    """One check on both models: how its estimate changed, or the reason why that is not known."""

    check: str
    change: Change | None
    reason: str | None = None
    has_failed: Annotated[bool, Meta(description="Whether it has no change, and that fails.")] = field(
        default=False, name="failed"
    )
    scale: Annotated[str | None, Meta(description="What the change is of, where it is not the check's value.")] = None
    unit: Annotated[str, Meta(description="What the change is counted over.")] = "units"

    @property
    def change_text(self) -> str:
        """The change in words."""
        return change_text(self.change, self.unit, self.scale)

    @property
    def said(self) -> str:
        """The change in words, and why it is so, or why there is none."""
        return "; ".join(filter(None, (self.change_text, self.change.reason if self.change else self.reason)))

    @property
    def passes(self) -> bool:
        """Whether neither the change nor its absence fails."""
        return not self.has_failed and (self.change is None or self.change.passes)

    @property
    def row(self) -> dict[str, Any]:
        """By the names of `COLUMNS`."""
        change = self.change
        same = {name: getattr(change, name, None) for name in ("before", "after", "low", "high", "margin", "n")}
        about = {"change": getattr(change, "value", None), "comparison": getattr(change, "comparison", None)}
        reason = self.reason if change is None else change.reason
        return (
            same
            | about
            | {"check": self.check, "state": self.state, "passes": self.passes, "unit": self.unit, "reason": reason}
        )

    @property
    def state(self) -> str:
        """That of the change, or why there is none."""
        return self.change.state if self.change else "error" if self.has_failed else "not compared"


class Comparison(Document, frozen=True, kw_only=True):
    """The second of two models against the first."""

    models: tuple[str, str]
    same_tokens: Annotated[bool | None, Meta(description="Null where that is not known: of two reports.")] = None
    populations: Annotated[str | None, Meta(description="How they differ, and on what checks are measured.")] = None
    drift: Drift
    changes: tuple[Compared, ...]
    limits: tuple[Limit, ...] = ()
    likely: Annotated[str | None, Meta(description="What made the second of the first, where it fails.")] = None
    passes: Annotated[bool, Meta(description="Whether no check and no limit fails; follows from these.")] = False
    schema: Literal["embcheck-comparison/1"] = SCHEMA

    def __post_init__(self) -> None:
        """Work out whether it passes, whatever a file says."""
        passes = all(row.passes for row in self.changes) and all(limit.passes for limit in self.limits)
        force_setattr(self, "passes", passes)

    def __repr__(self) -> str:
        """One line: the models, whether it passes, and how many checks are in each state."""
        return inert_line(f"<Comparison of {self.models[1]} against {self.models[0]}: {self.counts}>", 600)

    def to_dataframe(self) -> pd.DataFrame:
        """The checks as a pandas ``DataFrame``, those that need a look first.

        Columns: check, state, passes, before and after (on the scale that is compared), change, low, high (its
        interval), margin, comparison (``exact``, ``paired`` or ``unpaired``), n, unit, reason.

        Raises
        ------
        UsageError
            pandas is not installed; the extra ``pandas`` brings it.
        """
        return frame((row.row for row in self.by_urgency), COLUMNS, "comparison.changes has the same, as values")

    @property
    def by_urgency(self) -> list[Compared]:
        """The changes, those that need a look first; within a state by how much of their margin they used."""

        def urgency(row: Compared) -> tuple[int, float]:
            change = row.change
            margins = abs(change.value or 0.0) / change.margin if change and change.margin else 0.0
            return _STATES.index(row.state), -margins

        return sorted(self.changes, key=urgency)

    @property
    def counts(self) -> str:
        """Whether it passes, what drift does to that, how many rows died, and how many checks are in each state."""
        states = Counter(row.state for row in self.changes)
        parts = [f"{states[state]} {state}" for state in _STATES if states[state]]
        beyond = sum(not limit.passes for limit in self.limits)
        if died := self.drift.tokens.died.rows if self.drift.tokens else 0:
            parts.insert(0, f"{died:,} row{'' if died == 1 else 's'} became zero or not finite")
        parts = ["drift beyond its limit"] * bool(beyond) + parts
        if self.same_tokens is not None and not self.limits:
            parts.append("no limit on drift")
        return f"{'passes' if self.passes else 'fails'}: {', '.join(parts) or 'no checks were compared'}"


def _range(quantiles: dict[str, Number | None], *levels: str) -> str:
    parts = ("median", *levels)
    return ", ".join(f"{level} {number(quantiles[level])}" for level in parts if level in quantiles)
