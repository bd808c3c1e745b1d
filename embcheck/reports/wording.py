"""What terminal, Markdown and pages say in the same words: verdicts counted, bounds, changes, controls."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from embcheck.checks.record import FAILING
from embcheck.claims import ends
from embcheck.reports.text import number, quoted
from embcheck.text import noun

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from embcheck.checks.check import Result
    from embcheck.checks.record import Change, Control, EstimateRecord, Json, Ladder, ModelRecord, ResultRecord, Rung
    from embcheck.claims import ClaimOutcome
    from embcheck.estimate import Estimate

WIDTH = 80
_ROUNDING = 1e-12  # of margin or value: below it a change is that of arithmetic
_SAME = 1e-6  # of the margin: two ways to one change agree
STATES = ("regressed", "undecided", "stale", "new", "improved", "match")
"""Of changes, worst first."""
FAILURES = {
    "regressed": "regressed",
    "vacuous": "vacuous",
    "exception": "known exception that holds",
    "refuted": "refuted",
    "error": "could not be run",
    "stale": "stale baseline",
    "undecided": "change undecided",
    "inconclusive": "inconclusive",
    "skipped": "skipped",
    "new": "not in the baseline",
    "not_applicable": "not about this model",
    "holds": "fails",
}
"""What a check may fail for, the worst first: a change's state, a verdict, an exception that holds; how it is said."""
_WORST_FIRST = {kind: rank for rank, kind in enumerate(FAILURES)}

Style = Literal["title", "pass", "fail", "warn", "plain", "dim"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text for a terminal, and how it may be coloured."""

    text: str
    style: Style = "plain"


def counts(results: Sequence[ResultRecord]) -> Line:
    """How many checks hold, and how many do not; in brackets, how many changes pass that are no match."""
    counted = tally(results)
    moved = Counter(state_word(result.change) for result in results if result.change and result.change.passes)
    extra = [f"{n} {state}" for state in ("new", "improved", "adopted") if (n := moved[state])]
    text = ", ".join(f"{n} {words}" for _, words, n in counted) or "no checks ran"
    style: Style = "pass" if {kind for kind, _, _ in counted} & {"holds", "described"} else "warn"
    if not all(result.passes for result in results):
        style = "fail"
    return Line(text + (f" ({', '.join(extra)})" if extra else ""), style)


_COUNTED = (
    "holds", "regressed", "vacuous", "refuted", "exception", "stale", "undecided", "inconclusive", "skipped",
    "error", "new", "not_applicable", "described", "known",
)  # fmt: skip


def tally(results: Iterable[ResultRecord]) -> list[tuple[str, str, int]]:
    """What results come to, each counted once: by what it fails for, or by what it passes as; with words, how many."""
    kinds = Counter(failure(result) or _standing(result) for result in results)
    shown = []
    for kind in sorted(kinds, key=_COUNTED.index):
        n = kinds[kind]
        plural = "s" if n > 1 else ""
        words = {
            "holds": "hold",
            "error": f"error{plural}",
            "not_applicable": "n/a",
            "exception": f"known exception{plural} that hold{'' if plural else 's'}",
            "known": f"known exception{plural}",
        }
        shown.append((kind, words.get(kind, kind), n))
    return shown


def failure(result: ResultRecord) -> str | None:
    """What a check fails for, the worst of `FAILURES` that decides; none where it passes."""
    if result.passes:
        return None
    change, verdict, kinds = result.change, str(result.verdict), []
    if change and not change.passes and change.state in _WORST_FIRST:
        kinds.append(str(change.state))
    if verdict == "error" or not result.by_change:
        is_claimed = result.kind == "claim" and result.expected
        kinds += ["vacuous"] if result.control and result.control.vacuous else []
        kinds += ["exception"] if verdict == "holds" and not result.expected else []
        kinds += [verdict] if verdict == "error" or (is_claimed and verdict not in {"holds", "not_applicable"}) else []
    return min(kinds, key=_WORST_FIRST.__getitem__) if kinds else verdict


def _standing(result: ResultRecord) -> str:
    """What a check that passes does so as."""
    if is_known_exception(result) and not is_aside(result):
        return "known"
    return "described" if is_description(result) else "not_applicable" if is_aside(result) else verdict_word(result)


def state_word(change: Change) -> str:
    """The state of a change as a person reads it: one that fails otherwise, and passes, is taken over."""
    return "adopted" if change.passes and change.state in FAILING else str(change.state)


def named_tokens(result: ResultRecord, most: int = 3) -> list[str]:
    """The first few tokens that a check is refuted by, or regressed with; none where it fails for something else."""
    kind, change = failure(result), result.change
    moved = moved_units(change) if change and kind == "regressed" else ()
    entries = (moved or result.counterexamples) if kind in {"regressed", "refuted"} else ()
    return [entry["token"] for entry in entries[:most] if isinstance(entry.get("token"), str)]


def conclusion(models: Sequence[ModelRecord]) -> Line:
    """What a run comes to: its checks counted, then whatever else fails it."""
    counted = counts([result for model in models for result in model.results])
    said = shortfalls(models)
    return Line(f"{counted.text}; fails: {said}", "fail") if said else counted


def shortfalls(models: Sequence[ModelRecord]) -> str:
    """What fails a run beside its checks, in words; of several models each with its name."""
    of = [f"{model.alias}: " if len(models) > 1 else "" for model in models]
    return "; ".join(name + said for name, model in zip(of, models, strict=True) for said in model.shortfalls)


def headline_of(models: Sequence[ModelRecord]) -> str:
    """How many of the checks fail, and what else fails the run; what passes is none of the news where it does."""
    said, results = shortfalls(models), [result for model in models for result in model.results]
    first = "fails: " if all(result.passes for result in results) else f"{share_failing(results)}; "
    return first + said if said else share_failing(results)


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


def such_as(result: ResultRecord) -> str:
    """Those tokens in words; empty where there are none."""
    tokens = ", ".join(map(quoted, named_tokens(result)))
    return f"such as {tokens}" if tokens else ""


def urgency(result: ResultRecord) -> int:
    """Where a check stands among others: what fails in the order of `FAILURES`, then what is open, then what holds."""
    kind = failure(result)
    if kind is not None:
        return _WORST_FIRST[kind]
    return len(FAILURES) + (result.verdict == "holds" or is_description(result))


def is_description(result: ResultRecord) -> bool:
    """Whether a result describes the table, and there is nothing else to say of it: it was measured, and passes."""
    return result.kind == "description" and result.estimate is not None and result.expected and result.passes


def is_aside(result: ResultRecord) -> bool:
    """Whether the model cannot have what is claimed, and nothing says that it could."""
    return result.verdict == "not_applicable" and result.passes


def needs_look(result: ResultRecord) -> bool:
    """Whether a person should look at a result: it fails, is open without having been declared so, or has moved."""
    if not result.passes or (result.change and state_word(result.change) not in {"match", "new", "adopted"}):
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


def claims_text(result: ResultRecord, claims: Iterable[ClaimOutcome] | None = None) -> str:
    """The bounds of its claims, or of some of them, and of nulls to be beaten the p-value that was measured."""
    chances = {null.name: null.p_value for null in result.nulls if null.p_value is not None}
    said = []
    for claim in result.claims if claims is None else claims:
        chance = chances.get(str(claim.null)) if claim.op == "beats" else None
        said.append(bound_text(claim) + ("" if chance is None else f" (p = {chance:.2g})"))
    return ", ".join(said)


def measured_text(result: ResultRecord) -> str:
    """The value with its interval, never rounded onto a bound; empty where nothing was measured."""
    if (estimate := result.estimate) is None:
        return ""
    value, low, high = (number(end, ends(result.claims)) for end in (estimate.value, estimate.low, estimate.high))
    return f"{value} (exact)" if estimate.exact else f"{value} [{low}, {high}]"


def fails_by_change(result: ResultRecord) -> bool:
    """Whether it is the change that fails, and not what is claimed: that holds, or was excused."""
    is_excused = result.verdict == "holds" or not result.expected
    return result.change is not None and not (result.change.passes or result.passes) and is_excused


def headline(result: ResultRecord) -> str:
    """The verdict, or the change's state where it is the change that fails."""
    return str(result.change.state) if result.change and fails_by_change(result) else verdict_word(result)


def shortfall(result: ResultRecord, *, with_claim: bool = True) -> list[str]:
    """What a check falls short of: the bounds that it does not keep to and the reason, or how it moved."""
    if result.change and fails_by_change(result):
        said = [change_of(result), result.change.reason]
    elif headline(result) == "holds":
        return []
    else:
        unmet = [claim for claim in result.claims if claim.verdict != "holds"]
        has_claim = with_claim and result.estimate is not None
        claimed = f"claimed {claims_text(result, unmet or result.claims)}" if has_claim else ""
        vacuous = control_text(result.control) if result.control and result.control.vacuous else ""
        said = [claimed, vacuous, result.reason]
    return [text for text in said if text]


def outcome_text(result: ResultRecord) -> str:
    """Why a check does not hold, or fails, on one line: verdict, value, bound; empty where it does hold."""
    said = shortfall(result)
    return f"{headline(result)}: {', '.join(filter(None, (measured_text(result), '; '.join(said))))}" if said else ""


def reasons(result: ResultRecord) -> list[str]:
    """The reasons that the check and its comparison state, each said once."""
    compared = (result.change and result.change.reason) or ""
    own = [result.reason] if result.reason and result.reason not in compared else []
    return [*own, *([compared] if compared else [])]


def reason_of(result: ResultRecord) -> str | None:
    """Why a check does not hold, fails or was not measured, with what decides; none of one that holds."""
    return (outcome_text(result) if result.estimate else "") or result.reason


def beside(result: ResultRecord, *, with_claim: bool = True) -> list[str]:
    """What there is to say beside the numbers: the measure's notes; of a check that falls short, of what."""
    keys = ("remark",) if headline(result) == "holds" else ("remark", "summary")
    notes = [text for key in keys if isinstance(text := result.details.get(key), str)]
    return [*shortfall(result, with_claim=with_claim), *notes]


def change_of(result: ResultRecord) -> str:
    """A result's change in words, beside its value."""
    if result.estimate is None:
        return change_text(result.change)
    return change_text(result.change, result.estimate.unit, scale_of(result.estimate))


def scale_of(estimate: Estimate | EstimateRecord) -> str | None:
    """The scale that an estimate is compared on, where it is not that of its value."""
    scale = estimate.compared_as[0] if estimate.compared_as else estimate.name
    return None if scale == estimate.name else scale


def change_text(change: Change | None, unit: str = "units", scale: str | None = None) -> str:
    """The change in words: how far, from where, over which of the estimate's units, on which scale, and how found."""
    if change is None or change.value is None or change.margin is None:
        return ""
    value, low, high = (change_number(end, change) for end in (change.value, change.low, change.high))
    interval = "" if change.low == change.high else f" [{low}, {high}]"
    shared = ""
    if change.comparison == "paired" and change.after is not None and change.before is not None:
        apart = abs(change.after - change.before - change.value)
        shared = (
            f" over the {change.n} {noun(change.n or 0, unit)} that both have," if apart > _SAME * change.margin else ""
        )
    margin = {"both": "margin", "down": "margin down", "up": "margin up"}[change.bad]
    added = ", shared tokens only" if change.tokens == "added" else ""
    how = f"{change.comparison}{added}; {margin} {number(change.margin)}"
    on = f" in {scale.partition(',')[0]}" if scale else ""
    return f"moved {value}{interval}{shared} from {number(change.before)}{on} ({how})"


def change_number(value: float | None, change: Change) -> str:
    """A change, or an end of its interval, as a person reads it: what rounding alone leaves is 0."""
    apart = () if change.margin is None else (change.margin, -change.margin)
    largest = max(abs(change.before or 0.0), abs(change.after or 0.0), change.margin or 0.0)
    return number(0.0 if value is not None and abs(value) < _ROUNDING * largest else value, apart)


def moved_units(change: Change) -> list[Json]:
    """The units that moved most, by more than rounding alone."""
    return [unit for unit in change.moved if change_number(unit.get("value"), change) != "0"]


def moved_most(change: Change, most: int) -> tuple[list[Json], str]:
    """The first of these units, and how many others moved as far as the last of them, in words."""
    units = moved_units(change)
    if not units:
        return [], ""
    least = abs(units[:most][-1].get("value") or 0.0)
    is_as_far = [math.isclose(abs(unit.get("value") or 0.0), least) for unit in units]
    more = sum(is_as_far[most:]) + (change.as_far if is_as_far[-1] else 0)
    return units[:most], f"and {more:,} more as far" if more else ""


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
_ALIKE = 0.05  # of what sets a value apart from noise: two so close are called the same
_CLOUDS = {"mean": "mean", "covariance": "covariance", "marginals": "column values", "lengths": "row lengths"}


def ladder_text(ladder: Ladder, *, numbers: bool = True) -> str:
    """What a claim rests on, in words and two numbers."""
    if not ladder.rungs:
        return "nothing simpler was measured"
    rungs = {rung.name: rung for rung in ladder.rungs}
    *_, last = rungs
    name = ladder.suffices or last
    reached = f"{number(rungs[name].value)} there, {number(ladder.value)} here" if name in rungs else "unknown"
    if ladder.suffices is None:
        return f"more than {_kept(name)}" + (f" ({reached})" if numbers else "")
    how, share = _how_much(ladder, rungs[name]) if name in rungs else ("the same", "")
    behind = f" ({share}{reached})" if numbers else ""
    return f"{_kept(name)} {'gives' if name in {'gaussian', *_CLOUDS} else 'give'} {how}{behind}"


def _how_much(ladder: Ladder, rung: Rung) -> tuple[str, str]:
    """Whether a rung gives the value itself, or enough of what sets it apart from noise, and how much of that."""
    noise = next((each.value for each in ladder.rungs if each.name == "gaussian"), 0)
    apart, there = ladder.value - noise, rung.value - noise
    is_within = None not in (ladder.low, ladder.high) and ladder.low <= rung.value <= ladder.high  # type: ignore[operator]
    if is_within or abs(there - apart) <= _ALIKE * abs(apart):
        return "the same", ""
    share = there / apart if apart else 0
    return "enough of it", f"{share:.0%}: " if share > 0 else ""


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
