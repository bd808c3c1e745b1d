"""What a run's results mean beside the baseline: states, what passes, and the entries that an update writes.

==========  ==========================================================================================
match       the change's interval lies inside the property's margin, or nothing changed at all
improved    it lies beyond the margin in the good direction
regressed   it lies beyond the margin in a bad direction, at the level of the baseline file's family
undecided   it crosses the margin, or lies beyond it at its own level only: does not pass
new         the baseline has no value for the check
stale       the entry can't be compared any more (other tokens, version, population): does not pass
==========  ==========================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embcheck.baseline import file
from embcheck.baseline.file import Baseline, Entry, key_of
from embcheck.baseline.tokens import ADOPT, comparable
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.settings import in_ci

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Literal

    from embcheck.baseline.change import Change
    from embcheck.checks.evaluate import Check, Result
    from embcheck.claims import Declaration
    from embcheck.estimate import Snapshot
    from embcheck.settings import Settings
    from embcheck.table import EmbeddingTable

__all__ = ["Gate", "compared", "keys_of", "settle"]

_FAILING = frozenset({"regressed", "undecided", "stale"})


@dataclass(slots=True)
class Gate:
    """Holds results against the baselines in a folder, each read once.

    Parameters
    ----------
    folder
        Where the baselines are.
    mode
        Whether ``claims``, ``regressions`` or ``both`` decide what passes.
    missing
        Whether a check without a baseline value fails; ``None``: it does in continuous integration.
    update
        Which changes are going to be written, and so accepted: ``new``, ``changed``, ``prune``.
    """

    folder: Path
    mode: Literal["claims", "regressions", "both"] = "claims"
    missing: Literal["fail", "warn", "ignore"] | None = None
    update: tuple[str, ...] = ()
    _read: dict[str, Baseline | None] = field(default_factory=dict)

    @classmethod
    def in_memory(cls, alias: str, entries: Iterable[Entry]) -> Gate:
        """A gate that holds a model's results against entries that are in no file."""
        held = Baseline(alias, Path(), {entry.key: entry for entry in entries})
        return cls(Path(), "both", update=("new",), _read={alias: held})

    @property
    def is_open(self) -> bool:
        """Whether baselines play no part."""
        return self.mode == "claims" and not self.update

    def baseline(self, alias: str) -> Baseline | None:
        """The baseline of a model, ``None`` where it has none.

        Raises
        ------
        EmbcheckError
            Its file can't be read.
        """
        if alias not in self._read:
            self._read[alias] = file.load(self.folder, alias)
        return self._read[alias]

    def apply(self, alias: str, result: Result, table: EmbeddingTable, settings: Settings) -> Result:
        """The result with its change against the baseline.

        Raises
        ------
        EmbcheckError
            The baseline can't be read, or the property was written wrongly.
        """
        if self.is_open or result.verdict is Verdict.ERROR:
            return result
        found = self.baseline(alias)
        change = _compared(result, found, table, settings)
        if change is None:
            return result
        change["passes"] = self._passes(change)
        return replace(result, change=change, gate=self.mode)

    def unused(self, alias: str, known: frozenset[str]) -> list[str]:
        """Labels of the baseline's entries that no known check uses, given the keys of those."""
        found = None if self.is_open else self.baseline(alias)
        return [file.label_of(e) for key, e in sorted(found.entries.items()) if key not in known] if found else []

    def fails_missing(self) -> bool:
        """Whether what the baseline lacks fails."""
        return (self.missing or ("fail" if in_ci() else "warn")) == "fail"

    def write(self, alias: str, found: Iterable[tuple[Entry, str]], known: frozenset[str] | None = None) -> Baseline:
        """Write the entries that ``update`` accepts, each with its state, and leave the others as they are.

        Raises
        ------
        EmbcheckError
            The file can't be written; the old one is as it was.
        """
        accepted = [entry for entry, state in found if self._accepts(state)]

        def change(old: Mapping[str, Entry]) -> Mapping[str, Entry]:
            kept = {k: v for k, v in old.items() if known is None or "prune" not in self.update or k in known}
            return kept | {entry.key: entry for entry in accepted}

        return file.rewrite(self.folder, alias, change)

    def _accepts(self, state: str) -> bool:
        if state == "new":
            return "new" in self.update
        return "changed" in self.update and (state in _FAILING or state == "improved")

    def _passes(self, change: Mapping[str, Any]) -> bool:
        if self._accepts(change["state"]):
            return True
        if change["state"] == "new":
            return not self.fails_missing()
        return change["state"] not in _FAILING


def keys_of(checks: Iterable[Check]) -> frozenset[str]:
    """The baseline keys of checks."""
    return frozenset(key_of(check.declaration.id, check.record) for check in checks)


# --- states ---------------------------------------------------------------------------------------------------------


def _compared(
    result: Result, found: Baseline | None, table: EmbeddingTable, settings: Settings
) -> dict[str, Any] | None:
    """The change record of a result; none where there is nothing to compare, then or now."""
    declaration, estimate = result.check.declaration, result.estimate
    entry = found.entries.get(key_of(declaration.id, result.check.record)) if found else None
    decides = estimate is not None and estimate.reason is None
    if entry is None and (declaration.margin is None or not decides):
        return None
    if entry is None:
        why = "the baseline has no such check" if found else f"the model has no baseline; {ADOPT}"
        return _stated(declaration, "new", why)
    if entry.snapshot is None:
        fresh = f"it could not be decided in the baseline ({entry.reason}), and now can"
        same = "it can't be decided, as in the baseline"
        return _stated(declaration, "new", fresh) if decides else _stated(declaration, "match", same)
    try:
        now, tokens = comparable(result, entry, table, settings)
    except NotMeasurable as why:
        return _stated(declaration, "stale", str(why))
    family = sum(one.snapshot is not None for one in found.entries.values()) if found else 1
    return compared(entry.snapshot, now, declaration, settings, family=family, tokens=tokens)


def compared(
    old: Snapshot,
    new: Snapshot,
    declaration: Declaration,
    settings: Settings,
    *,
    family: int = 1,
    tokens: str = "same",
) -> dict[str, Any]:
    """The change record of two estimates of one property.

    Parameters
    ----------
    old, new
        The estimates.
    declaration
        Of the property: its margin, and which direction is bad.
    settings
        The confidence level.
    family
        Number of comparisons that the level is shared among.
    tokens
        ``same``, or ``added`` where both are of the shared tokens only.
    """
    from embcheck.baseline.change import between

    change = between(old, new, settings.confidence_level)
    p_value = _p_value(change, declaration)
    record = _stated(declaration, "match", None) | {
        "value": change.value,
        "low": change.low,
        "high": change.high,
        "confidence_level": settings.confidence_level,
        "before": old.value,
        "after": new.value,
        "scale": new.scale,
        "comparison": change.comparison,
        "method": change.method,
        "n": change.n,
        "tokens": tokens,
        "p_value": p_value,
        "p_adjusted": min(1.0, family * p_value),
        "family": family,
        "moved": list(change.moved),
    }
    return record | {"state": "match" if change.is_zero else _state(record)}


def _stated(declaration: Declaration, state: str, reason: str | None) -> dict[str, Any]:
    empty = dict.fromkeys(
        ("value", "low", "high", "confidence_level", "before", "after", "scale", "comparison", "method", "n", "tokens")
    )
    margins = {"margin": declaration.margin, "bad": declaration.bad}
    chance = {"p_value": None, "p_adjusted": None, "family": None}
    return {"state": state, "passes": state not in _FAILING, "reason": reason, "moved": []} | empty | margins | chance


def _p_value(change: Change, declaration: Declaration) -> float:
    """How well the change agrees with one inside the margin, in the bad direction."""
    margin = declaration.margin or 0.0
    if declaration.bad != "both":
        return change.tail(margin, declaration.bad)
    return min(1.0, 2 * min(change.tail(margin, "down"), change.tail(margin, "up")))


def _state(change: Mapping[str, Any]) -> str:
    low, high, margin, bad = change["low"], change["high"], change["margin"], change["bad"]
    if (bad != "up" and high < -margin) or (bad != "down" and low > margin):
        return "regressed" if change["p_adjusted"] <= 1 - change["confidence_level"] else "undecided"
    if (bad != "up" and low < -margin) or (bad != "down" and high > margin):
        return "undecided"
    return "improved" if low > margin or high < -margin else "match"


def settle(results: Sequence[Mapping[str, Any]]) -> None:
    """Holm's adjustment over the family, where all of a model's results are known. What passes stays as it is.

    A check by itself is judged by the family's first step, which is the strictest; later steps can only turn
    ``undecided`` into ``regressed``, and neither passes.
    """
    changes = [r["change"] for r in results if r["change"] and r["change"]["p_value"] is not None]
    worst = 0.0
    for rank, change in enumerate(sorted(changes, key=lambda change: change["p_value"])):
        worst = max(worst, min(1.0, max(1, change["family"] - rank) * change["p_value"]))
        change["p_adjusted"] = worst
        if change["state"] == "undecided":
            change["state"] = _state(change)
