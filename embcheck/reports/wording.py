"""What terminal, Markdown and pages say in the same words: verdicts counted, bounds, changes, controls."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from embcheck.claims import ends
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from embcheck.checks.check import Result
    from embcheck.checks.record import Change, Control, EstimateRecord, Ladder, ResultRecord
    from embcheck.claims import ClaimOutcome
    from embcheck.estimate import Estimate

WIDTH = 80
STATES = ("regressed", "undecided", "stale", "new", "improved", "match")
"""Of changes, worst first."""

Style = Literal["title", "pass", "fail", "warn", "plain", "dim"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text for a terminal, and how it may be coloured."""

    text: str
    style: Style = "plain"


def counts(results: Sequence[ResultRecord]) -> Line:
    """How many checks hold, and how many do not."""
    described = sum(map(is_description, results))
    verdicts = Counter(verdict_word(result) for result in results if not is_description(result))
    words = {"holds": "hold", "error": "errors" if verdicts["error"] > 1 else "error"}
    order = ("holds", "vacuous", "refuted", "inconclusive", "skipped", "error", "n/a")
    parts = [f"{verdicts[v]} {words.get(v, v)}" for v in order if verdicts[v]]
    parts += [f"{described} described"] if described else []
    known = sum(map(is_known_exception, results))
    extra = [f"{known} known exception{'s' if known > 1 else ''}"] if known else []
    states = Counter(str(result.change.state) for result in results if result.change)
    extra += [f"{n} {state}" for state in STATES[:-1] if (n := states[state])]
    text = ", ".join(parts) or "no checks ran"
    style: Style = "pass" if verdicts["holds"] or described else "warn"
    if not all(result.passes for result in results):
        style = "fail"
    return Line(text + (f" ({', '.join(extra)})" if extra else ""), style)


def share_failing(results: Sequence[ResultRecord]) -> str:
    """How many of the checks fail, in words; what the model cannot have is none of them."""
    total, failed = sum(not is_aside(result) for result in results), sum(not result.passes for result in results)
    checks = "check" if total == 1 else "checks"
    if not failed:
        return f"all {total} {checks} pass" if total > 1 else f"{total} {checks} passes" if total else "no checks ran"
    return f"{failed} of {total} {checks} {'fails' if failed == 1 else 'fail'}"


def verdict_word(result: Result | ResultRecord) -> str:
    """The verdict as a person reads it: a claim that holds on noise too says nothing, whatever it is here."""
    is_vacuous = result.verdict == "holds" and result.control is not None and result.control.vacuous
    return "vacuous" if is_vacuous else "n/a" if result.verdict == "not_applicable" else str(result.verdict)


def is_known_exception(result: ResultRecord) -> bool:
    """Whether a check was configured not to hold, and passes so."""
    return not result.expected and result.passes


def urgency(result: ResultRecord) -> int:
    """Where a check stands among others: refuted and regressed first, then errors, what else fails, and what passes."""
    if result.passes:
        return 4 if result.verdict == "holds" or is_description(result) else 3
    if result.verdict == "refuted" or (result.change and result.change.state == "regressed"):
        return 0
    return 1 if result.verdict == "error" else 2


def is_description(result: ResultRecord) -> bool:
    """Whether a result describes the table, and there is nothing else to say of it: it was measured, and passes."""
    return result.kind == "description" and result.estimate is not None and result.expected and result.passes


def is_aside(result: ResultRecord) -> bool:
    """Whether the model cannot have what is claimed, and nothing says that it could."""
    return result.verdict == "not_applicable" and result.passes


def needs_look(result: ResultRecord) -> bool:
    """Whether a person should look at a result: it fails, is open without having been declared so, or has moved."""
    if not result.passes or (result.change and result.change.state not in {"match", "new"}):
        return True
    is_open = result.verdict not in {"holds", "not_applicable"}
    return is_open and not is_known_exception(result) and not is_description(result)


def bound_text(claim: ClaimOutcome) -> str:
    """A claim's bound in words."""
    stated = ends([claim])
    if claim.op == "within" and len(stated) < 2:
        return f"agrees with {claim.null}"
    if claim.op == "within":
        return f"within {number(stated[0])} to {number(stated[1])}" + (f" ({claim.null})" if claim.null else "")
    if claim.op == "beats":
        how = "lies below" if claim.side == "below" else "beats"
        return f"{how} {claim.null} at p <= {number(stated[0])}"
    return f"{claim.op} {number(stated[0])}"


def claims_text(result: ResultRecord) -> str:
    """The claims' bounds and, of nulls to be beaten, the p-value that was measured."""
    chances = {null.name: null.p_value for null in result.nulls if null.p_value is not None}
    said = []
    for claim in result.claims:
        chance = chances.get(str(claim.null)) if claim.op == "beats" else None
        said.append(bound_text(claim) + ("" if chance is None else f" (p = {chance:.2g})"))
    return ", ".join(said)


def change_of(result: ResultRecord) -> str:
    """A result's change in words, beside its value."""
    return change_text(result.change, scale_of(result.estimate) if result.estimate else None)


def scale_of(estimate: Estimate | EstimateRecord) -> str | None:
    """The scale that an estimate is compared on, where it is not that of its value."""
    scale = estimate.compared_as[0] if estimate.compared_as else estimate.name
    return None if scale == estimate.name else scale


def change_text(change: Change | None, scale: str | None = None) -> str:
    """The change in words: how far it moved from where, on which scale if not the value's, and how that was found."""
    if change is None or change.value is None or change.margin is None:
        return ""
    apart = [change.margin, -change.margin]
    value, low, high = (number(end, apart) for end in (change.value, change.low, change.high))
    interval = "" if change.low == change.high else f" [{low}, {high}]"
    margin = {"both": "margin", "down": "margin down", "up": "margin up"}[change.bad]
    added = ", shared tokens only" if change.tokens == "added" else ""
    how = f"{change.comparison}{added}; {margin} {number(change.margin)}"
    on = f" in {scale.partition(',')[0]}" if scale else ""
    return f"moved {value}{interval} from {number(change.before)}{on} ({how})"


def how_text(change: Change) -> str:
    """How the change was found, and its p-value: the check's own, which is the same whatever else was run."""
    if change.method is None:
        return ""
    family = f" (Holm: of {change.family})" if change.family is not None and change.family > 1 else ""
    chance = "" if change.p_value is None or change.comparison == "exact" else f", p = {change.p_value:.2g}{family}"
    return f"{change.method}{chance}"


def control_text(control: Control) -> str:
    """What random tables say of the property."""
    return f"holds on {control.holds} of {control.tables} random tables"


RUNGS = {
    "gaussian": "noise of this shape",
    "mean": "with this mean",
    "covariance": "and covariance",
    "marginals": "and column values",
    "lengths": "and row lengths",
    "frequency": "rows of equally frequent tokens",
    "spelling": "rows of tokens spelt alike",
}
_CLOUDS = {"mean": "mean", "covariance": "covariance", "marginals": "column values", "lengths": "row lengths"}


def ladder_text(ladder: Ladder, *, numbers: bool = True) -> str:
    """What a claim rests on, in words and two numbers."""
    if not ladder.rungs:
        return "nothing simpler was measured"
    rungs = {rung.name: rung for rung in ladder.rungs}
    *_, last = rungs
    name = ladder.suffices or last
    reached = f"{number(rungs[name].value)} there, {number(ladder.value)} here" if name in rungs else "unknown"
    behind = f" ({reached})" if numbers else ""
    if ladder.suffices is None:
        return f"more than {_kept(name)}{behind}"
    return f"{_kept(name)} {'gives' if name in {'gaussian', *_CLOUDS} else 'give'} the same{behind}"


def _kept(rung: str) -> str:
    """A table that keeps what the rung says."""
    if rung == "gaussian":
        return "noise of this shape"
    if rung not in _CLOUDS:
        alike = "of like frequency" if rung == "frequency" else "spelt alike"
        return f"these rows dealt out among tokens {alike}"
    *before, last = [name for i, name in enumerate(_CLOUDS.values()) if i <= list(_CLOUDS).index(rung)]
    listed = f"{', '.join(before)} and {last}" if before else last
    return f"{'an isotropic' if rung == 'mean' else 'a Gaussian'} cloud with this {listed}"


def in_order(keys: Iterable[str]) -> list[str]:
    """Keys of a counterexample as they are read: the token, its row, others by name, the value."""
    return sorted(keys, key=lambda key: ({"token": 0, "id": 1, "ids": 1, "value": 3}.get(key, 2), key))
