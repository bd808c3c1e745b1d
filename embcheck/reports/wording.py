"""What terminal, Markdown and pages say in the same words: verdicts counted, bounds, changes, controls."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from embcheck.checks.record import Change, Control, ResultRecord
    from embcheck.claims import ClaimOutcome

WIDTH = 80
_STATES = ("regressed", "undecided", "stale", "new", "improved")

Style = Literal["title", "pass", "fail", "warn", "plain", "dim"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text for a terminal, and how it may be coloured."""

    text: str
    style: Style = "plain"


def counts(results: Sequence[ResultRecord]) -> Line:
    """How many checks hold, and how many do not."""
    verdicts = Counter(str(result.verdict) for result in results)
    words = {"holds": "hold", "error": "errors" if verdicts["error"] > 1 else "error"}
    order = ("holds", "refuted", "inconclusive", "skipped", "error")
    parts = [f"{verdicts[v]} {words.get(v, v)}" for v in order if verdicts[v]]
    known = sum(map(is_known_exception, results))
    vacuous = sum(result.control is not None and result.control.vacuous for result in results)
    extra = [f"{known} known exception{'s' if known > 1 else ''}"] if known else []
    extra += [f"{vacuous} vacuous"] if vacuous else []
    states = Counter(str(result.change.state) for result in results if result.change)
    extra += [f"{n} {state}" for state in _STATES if (n := states[state])]
    text = ", ".join(parts) or "no checks ran"
    style: Style = "pass" if verdicts["holds"] else "warn"
    if not all(result.passes for result in results):
        style = "fail"
    return Line(text + (f" ({', '.join(extra)})" if extra else ""), style)


def is_known_exception(result: ResultRecord) -> bool:
    """Whether a check was configured not to hold, and passes so."""
    return not result.expected and result.passes


def urgency(result: ResultRecord) -> int:
    """Where a check stands among others: refuted and regressed first, then errors, what else fails, and what passes."""
    if result.passes:
        return 4 if result.verdict == "holds" else 3
    if result.verdict == "refuted" or (result.change and result.change.state == "regressed"):
        return 0
    return 1 if result.verdict == "error" else 2


def ends(claims: Iterable[ClaimOutcome]) -> list[float]:
    """The numbers that claims state, onto which no estimate may be rounded."""
    return [end for claim in claims for end in (claim.bound, claim.low, claim.high) if isinstance(end, int | float)]


def bound_text(claim: ClaimOutcome) -> str:
    """A claim's bound in words."""
    stated = ends([claim])
    if claim.op == "within" and len(stated) < 2:
        return f"agrees with {claim.null}"
    if claim.op == "within":
        return f"within {number(stated[0])} to {number(stated[1])}" + (f" ({claim.null})" if claim.null else "")
    if claim.op == "beats":
        return f"beats {claim.null} at p <= {number(stated[0])}"
    return f"{claim.op} {number(stated[0])}"


def change_text(change: Change | None) -> str:
    """The change in words: how far it moved from where, and how that was found."""
    if change is None or change.value is None or change.margin is None:
        return ""
    apart = [change.margin, -change.margin]
    value, low, high = (number(end, apart) for end in (change.value, change.low, change.high))
    interval = "" if change.low == change.high else f" [{low}, {high}]"
    margin = {"both": "margin", "down": "margin down", "up": "margin up"}[change.bad]
    added = ", shared tokens only" if change.tokens == "added" else ""
    how = f"{change.comparison}{added}; {margin} {number(change.margin)}"
    return f"moved {value}{interval} from {number(change.before)} ({how})"


def control_text(control: Control) -> str:
    """What random tables say of the property."""
    return f"holds on {control.holds} of {control.tables} random tables"


def in_order(keys: Iterable[str]) -> list[str]:
    """Keys of a counterexample as they are read: the token, its row, others by name, the value."""
    return sorted(keys, key=lambda key: ({"token": 0, "id": 1, "ids": 1, "value": 3}.get(key, 2), key))
