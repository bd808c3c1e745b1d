"""A result in the words of a page: what templates show, computed beforehand."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from embcheck.errors import SpecError
from embcheck.reports.html.ranges import range_of
from embcheck.reports.text import number
from embcheck.reports.wording import bound_text, change_text, control_text, ends, in_order
from embcheck.spec import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embcheck.checks.record import EstimateRecord, ModelRecord, NullResult, Report, ResultRecord
    from embcheck.reports.html.ranges import Axis, Range

__all__ = ["GLYPHS", "Row", "describe", "parameter"]

GLYPHS = {"holds": "\u2713", "refuted": "\u2717", "inconclusive": "?", "skipped": "\u2013", "error": "!"}
_WORDS = {
    "holds": "the claim holds",
    "refuted": "the claim is refuted",
    "inconclusive": "the claim is undecided",
    "skipped": "not measured",
    "error": "could not be run",
}
_DECIMALS = 9
_WORST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One result. What an estimate says is empty where there is none."""

    model: int
    alias: str
    label: str
    parameter: str
    verdict: str
    glyph: str
    word: str
    expected: bool
    seed: int
    range: Range | None
    claims: tuple[tuple[str, str], ...]
    nulls: tuple[tuple[str, str, str, str], ...]
    reason: str
    note: str
    change: str
    control: str
    columns: tuple[str, ...]
    """Of the counterexamples."""
    counterexamples: tuple[tuple[str, ...], ...]
    command: str
    value: str = ""
    interval: str = ""
    exact: bool = False
    chance: str = ""
    """The largest p-value against the nulls to be beaten, where only they decide."""
    counted: str = ""
    name: str = ""
    effect: str = ""
    method: str = ""


def describe(report: Report, index: int, result: ResultRecord, axis: Axis | None) -> Row:
    """One result of the report's model of that index."""
    model, note = report.models[index], result.details.get("summary")
    worst = result.counterexamples[:_WORST]
    keys = in_order(dict.fromkeys(key for entry in worst for key in entry))
    unmeasured = Row(
        model=index,
        alias=model.alias,
        label=result.label,
        parameter=parameter(result),
        verdict=str(result.verdict),
        glyph=GLYPHS[result.verdict],
        word=_WORDS[result.verdict] + (f": {result.reason}" if result.reason else ""),
        expected=result.expected,
        seed=report.run.seed,
        range=range_of(result, axis),
        claims=tuple((bound_text(claim), str(claim.verdict)) for claim in result.claims),
        nulls=tuple(map(_null, result.nulls)),
        reason=result.reason or "",
        note=note if isinstance(note, str) else "",
        change=change_text(result.change),
        control=control_text(result.control) if result.control else "",
        columns=tuple(key.replace("_", " ") for key in keys),
        counterexamples=tuple(tuple(_plain(entry.get(key)) for key in keys) for entry in worst),
        command=_command(report, model, result),
    )
    return unmeasured if result.estimate is None else _with_estimate(unmeasured, result, result.estimate)


def _with_estimate(unmeasured: Row, result: ResultRecord, estimate: EstimateRecord) -> Row:
    """Value, interval and what they rest on, rounded for reading but never onto a bound."""
    value, low, high = _together((estimate.value, estimate.low, estimate.high), ends(result.claims))
    interval = "exact" if estimate.exact else f"{low} to {high}"
    level = f"{number(100 * estimate.confidence_level)}% interval by {estimate.method}"
    effect = estimate.effect or {}
    size = effect.get("value")
    claimed = ", ".join(bound_text(claim).replace("_", " ") for claim in result.claims)
    return replace(
        unmeasured,
        word=f"{_WORDS[result.verdict]}: measured {value} ({interval}), claimed {claimed}",
        value=value,
        interval=interval,
        exact=estimate.exact,
        chance=_chance(result),
        counted=f"{estimate.n:,} {estimate.unit}",
        name=estimate.name,
        effect="" if size is None else f"{effect.get('name', 'effect')}: {_plain(size)}",
        method="every unit was measured: exact" if estimate.exact else level,
    )


def parameter(result: ResultRecord) -> str:
    """The parameters as a title: ``relation: capital``."""
    return ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in result.params.items())


def _chance(result: ResultRecord) -> str:
    beaten = {claim.null for claim in result.claims}
    known = [null.p_value for null in result.nulls if null.name in beaten and null.p_value is not None]
    return f"p = {max(known):.2g}" if known and all(claim.op == "beats" for claim in result.claims) else ""


def _together(values: Sequence[float | None], apart: Sequence[float]) -> list[str]:
    """A value and its interval to the digits that the interval's width leaves, but never rounded onto a bound."""
    known = [value for value in values if value is not None]
    width = max(known, default=0.0) - min(known, default=0.0)
    if width <= 0 or len(known) < len(values):
        return [f"{value:,.0f}" if value and value == round(value) else number(value, apart) for value in values]
    decimals = min(_DECIMALS, max(0, 1 - math.floor(math.log10(width))))
    while decimals < _DECIMALS and any(round(v, decimals) == end != v for v in known for end in apart):
        decimals += 1
    return [f"{value:,.{decimals}f}" for value in known]


def _null(null: NullResult) -> tuple[str, str, str, str]:
    p, adjusted = ("" if chance is None else f"{chance:.2g}" for chance in (null.p_value, null.p_adjusted))
    return null.name.replace("_", " "), number(null.value), p, adjusted


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    return ", ".join(map(_plain, value)) if isinstance(value, list) else str(value)


def _command(report: Report, model: ModelRecord, result: ResultRecord) -> str:
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
