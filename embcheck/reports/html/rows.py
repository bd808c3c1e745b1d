"""A result as a page shows it: in words, and on a line with the bounds of its claims and its nulls."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from embcheck.claims import ends
from embcheck.errors import SpecError
from embcheck.reports.text import number
from embcheck.reports.wording import claims_text, in_order, ladder_text
from embcheck.spec import parse
from embcheck.text import noun

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from embcheck.checks.record import ModelRecord, Report, ResultRecord
    from embcheck.claims import ClaimOutcome

GLYPHS = {
    "holds": "\u2713",
    "refuted": "\u2717",
    "inconclusive": "?",
    "skipped": "\u2013",
    "error": "!",
    "not_applicable": "\u2205",
}
_WORDS = {
    "holds": "the claim holds",
    "refuted": "the claim is refuted",
    "inconclusive": "the claim is undecided",
    "skipped": "not measured",
    "error": "could not be run",
    "not_applicable": "not about this model",
}
_DECIMALS = 9
_WORST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One result, with what takes more than a template to say. What an estimate says is empty where there is none."""

    result: ResultRecord
    alias: str
    model: int
    verdict: str
    word: str
    range: Range | None
    command: str
    value: str = ""
    interval: str = ""
    counted: str = ""
    chance: str = ""
    """The largest p-value against the nulls to be beaten and whose it is, where only they decide."""
    claimed: str = ""
    """The bounds, and of nulls to be beaten the p-values."""
    effect: str = ""
    method: str = ""

    @property
    def rests_on(self) -> str:
        """The structure that suffices for the claim, where that was asked for."""
        return "" if self.result.ladder is None else ladder_text(self.result.ladder, numbers=False)


def describe(result: ResultRecord, axis: Axis | None, *, alias: str = "", model: int = 0, command: str = "") -> Row:
    """One result of a model, by its index in the report: numbers rounded for reading, but never onto a bound."""
    said, claimed = _WORDS[result.verdict], claims_text(result).replace("_", " ")
    row = Row(
        result=result,
        alias=alias,
        model=model,
        verdict=str(result.verdict),
        word=said + (f": {result.reason}" if result.reason else ""),
        range=range_of(result, axis),
        command=command,
        claimed=claimed,
    )
    if (estimate := result.estimate) is None:
        return row
    value, low, high = _together((estimate.value, estimate.low, estimate.high), ends(result.claims))
    interval = "exact" if estimate.exact else f"{low} to {high}"
    level = f"{number(100 * estimate.confidence_level)}% interval by {estimate.method}"
    effect = estimate.effect or {}
    size = effect.get("value")
    remarks = [str(text) for text in (result.details.get("remark"), result.reason) if text]
    return replace(
        row,
        word="; ".join([f"{said}: measured {value} ({interval}), claimed {claimed}", *remarks]),
        value=value,
        interval=interval,
        counted=f"{estimate.n:,} {noun(estimate.n, estimate.unit)}",
        chance=_chance(result),
        effect="" if size is None else f"{effect.get('name', 'effect')}: {plain(size)}",
        method="every unit was measured: exact" if estimate.exact else level,
    )


def parameter(result: ResultRecord) -> str:
    """The parameters as a title: ``relation: capital``."""
    return ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in result.params.items())


def worst(result: ResultRecord) -> tuple[list[str], list[list[str | None]]]:
    """Columns and rows of a table of what weighs most against the claim."""
    entries = result.counterexamples[:_WORST]
    keys = in_order(dict.fromkeys(key for entry in entries for key in entry))
    return [key.replace("_", " ") for key in keys], [
        [None if entry.get(key) is None else plain(entry[key]) for key in keys] for entry in entries
    ]


def _chance(result: ResultRecord) -> str:
    beaten = {claim.null for claim in result.claims}
    known = [(null.p_value, null.name) for null in result.nulls if null.name in beaten and null.p_value is not None]
    if not known or any(claim.op != "beats" for claim in result.claims):
        return ""
    p_value, name = max(known)
    return f"p = {p_value:.2g} against {name.replace('_', ' ')}"


def _together(values: Sequence[float | None], apart: Sequence[float]) -> list[str]:
    """A value and its interval to the digits that the interval's width leaves, but never rounded onto a bound."""
    known = [value for value in values if value is not None]
    width = max(known, default=0.0) - min(known, default=0.0)
    if width <= 0 or len(known) < len(values):
        return [f"{value:,.0f}" if value and value == round(value) else number(value, apart) for value in values]
    decimals = min(_DECIMALS, max(0, 1 - math.floor(math.log10(width))))
    while decimals < _DECIMALS and any(round(v, decimals) == end != v for v in known for end in apart):
        decimals += 1
    return [f"{value:z,.{decimals}f}" for value in known]


def plain(value: object) -> str:
    """A value of the report as text: numbers rounded, lists and mappings on one line."""
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
    return ", ".join(map(plain, value)) if isinstance(value, list) else str(value)


def command(report: Report, model: ModelRecord, result: ResultRecord) -> str:
    """The command that measures this result again."""
    if model.spec == "memory":
        return f"embcheck.check(model, tokenizer=tokenizer, properties={result.label!r})"
    other = result.params.get("other")
    both = [model, *(second for second in report.models if second.alias == other)]
    # all of the property's where a report, whose keys are sorted, lost the parameters' order
    selection = result.label if len(result.params) < 2 else result.id
    words = ["embcheck", "check", *map(_spec, both), "--property", selection]
    words += ["--seed", str(report.run.seed)] if report.run.seed else []
    if result.estimate and result.estimate.confidence_level != 0.95:
        words += ["--confidence", number(result.estimate.confidence_level)]
    if model.population and model.population.kind != "known":
        words += ["--population", model.population.kind]
    return shlex.join(words)


def _spec(model: ModelRecord) -> str:
    """The spec that gives the model its alias."""
    try:
        is_named = parse(model.spec).alias == model.alias
    except SpecError:
        is_named = False
    return model.spec if is_named else f"{model.alias}={model.spec}"


# --- on a line --------------------------------------------------------------------------------------------------------


_ROOM = 0.06
_WIDE = 50.0  # largest over smallest number from which a logarithmic axis is the clearer one


@dataclass(frozen=True, slots=True)
class Axis:
    """The line that the results of one property share."""

    low: float
    high: float
    is_logarithmic: bool = False

    def place(self, value: float) -> float:
        """Percent from the left, between 0 and 100."""
        low, high, at = (self._scaled(v) for v in (self.low, self.high, value))
        return round(100 * max(0.0, min(1.0, (at - low) / (high - low))), 2)

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Places and numbers of a few round marks."""
        if self.is_logarithmic:
            powers = [10.0**power for power in range(math.ceil(self._scaled(self.low)), 12)]
            return tuple((self.place(value), number(value)) for value in powers if self.low <= value <= self.high)
        step = _round_step((self.high - self.low) / 4)
        first = math.ceil(self.low / step)
        inside = [step * i for i in range(first, first + 9) if self.low <= step * i <= self.high]
        return tuple((self.place(value), _marked(value, step)) for value in inside)

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, 1e-300)) if self.is_logarithmic else value


def _marked(value: float, step: float) -> str:
    """A multiple of a step with the digits that tell it from its neighbors."""
    finest = math.floor(math.log10(step))
    if step > abs(value) or 1e-5 <= abs(value) < 1e15:
        return f"{value:.{max(0, -finest)}f}" if abs(value) >= step / 2 else "0"
    return f"{value:.{max(1, math.floor(math.log10(abs(value))) - finest + 1)}g}"


@dataclass(frozen=True, slots=True)
class Range:
    """One result on the line: percents from the left, and the numbers in words."""

    value: float
    low: float
    high: float
    holds: tuple[tuple[float, float], ...]
    """Where the claims hold."""
    bounds: tuple[float, ...]
    nulls: tuple[tuple[float, str], ...]
    is_exact: bool
    said: str


def axis_of(results: Iterable[ResultRecord]) -> Axis | None:
    """A line that holds the numbers of all results; none where nothing was measured."""
    numbers = [value for result in results for value in _numbers(result)]
    if not numbers:
        return None
    low, high = min(numbers), max(numbers)
    if low > 0 and high / low > _WIDE:
        return Axis(low / 1.3, high * 1.3, is_logarithmic=True)
    room = _ROOM * (high - low) or max(abs(high), 1.0) * _ROOM
    return Axis(low - room, high + room)


def range_of(result: ResultRecord, axis: Axis | None) -> Range | None:
    """Where a result lies on the line; none where nothing was measured."""
    estimate = result.estimate
    if axis is None or estimate is None or estimate.value is None:
        return None
    value = float(estimate.value)
    low, high = (value if end is None else float(end) for end in (estimate.low, estimate.high))
    nulls = [(float(null.value), null.name) for null in result.nulls if null.value is not None]
    interval = "exact" if estimate.exact else f"interval {number(low)} to {number(high)}"
    return Range(
        axis.place(value),
        axis.place(low),
        axis.place(high),
        tuple(_inside(axis, result)),
        tuple(axis.place(end) for end in _bounds(result)),
        tuple((axis.place(at), f"{name}: {number(at)}") for at, name in nulls),
        estimate.exact,
        f"{number(value)}, {interval}",
    )


def _numbers(result: ResultRecord) -> list[float]:
    """What the line must reach: estimate, bounds and nulls; nothing where nothing was measured."""
    estimate = result.estimate
    if estimate is None or estimate.value is None:
        return []
    measured = [estimate.value, estimate.low, estimate.high, *(null.value for null in result.nulls)]
    return [*(float(value) for value in measured if value is not None), *_bounds(result)]


def _bounds(result: ResultRecord) -> list[float]:
    return [end for claim in result.claims for end in _span(claim) if math.isfinite(end)]


def _span(claim: ClaimOutcome) -> tuple[float, float]:
    """Where a claim on the value holds; everywhere for one on a p-value, or whose range is not known."""
    stated = [float(end) for end in ends([claim])]
    if claim.op == "above":
        return stated[0], math.inf
    if claim.op == "below":
        return -math.inf, stated[0]
    return (stated[0], stated[1]) if claim.op == "within" and len(stated) > 1 else (-math.inf, math.inf)


def _inside(axis: Axis, result: ResultRecord) -> list[tuple[float, float]]:
    """The one stretch on which all claims on the value hold: its start and width."""
    spans = [_span(claim) for claim in result.claims]
    low, high = max((span[0] for span in spans), default=-math.inf), min((span[1] for span in spans), default=math.inf)
    if math.isinf(low) and math.isinf(high):
        return []
    start = 0.0 if math.isinf(low) else axis.place(low)
    stop = 100.0 if math.isinf(high) else axis.place(high)
    return [(start, round(stop - start, 2))] if stop > start else []


def _round_step(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(step))
    return next(float(power * factor) for factor in (1, 2, 5, 10) if power * factor >= step * (1 - 1e-9))
