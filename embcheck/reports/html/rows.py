"""A result in the words of a page: what templates show, computed beforehand."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from embcheck.errors import SpecError
from embcheck.reports.html.ranges import range_of
from embcheck.reports.text import number
from embcheck.reports.wording import bound_text, ends, in_order
from embcheck.spec import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embcheck.checks.record import ModelRecord, Report, ResultRecord
    from embcheck.reports.html.ranges import Axis, Range

__all__ = ["GLYPHS", "Row", "command", "describe", "parameter", "worst"]

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
    """The largest p-value against the nulls to be beaten, where only they decide."""
    effect: str = ""
    method: str = ""


def describe(result: ResultRecord, axis: Axis | None, *, alias: str = "", model: int = 0, command: str = "") -> Row:
    """One result of a model, by its index in the report: numbers rounded for reading, but never onto a bound."""
    said = _WORDS[result.verdict]
    row = Row(
        result=result,
        alias=alias,
        model=model,
        verdict=str(result.verdict),
        word=said + (f": {result.reason}" if result.reason else ""),
        range=range_of(result, axis),
        command=command,
    )
    if (estimate := result.estimate) is None:
        return row
    value, low, high = _together((estimate.value, estimate.low, estimate.high), ends(result.claims))
    interval = "exact" if estimate.exact else f"{low} to {high}"
    level = f"{number(100 * estimate.confidence_level)}% interval by {estimate.method}"
    effect = estimate.effect or {}
    size = effect.get("value")
    claimed = ", ".join(bound_text(claim).replace("_", " ") for claim in result.claims)
    return replace(
        row,
        word=f"{said}: measured {value} ({interval}), claimed {claimed}",
        value=value,
        interval=interval,
        counted=f"{estimate.n:,} {estimate.unit}",
        chance=_chance(result),
        effect="" if size is None else f"{effect.get('name', 'effect')}: {_plain(size)}",
        method="every unit was measured: exact" if estimate.exact else level,
    )


def parameter(result: ResultRecord) -> str:
    """The parameters as a title: ``relation: capital``."""
    return ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in result.params.items())


def worst(result: ResultRecord) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a table of what weighs most against the claim."""
    entries = result.counterexamples[:_WORST]
    keys = in_order(dict.fromkeys(key for entry in entries for key in entry))
    return [key.replace("_", " ") for key in keys], [[_plain(entry.get(key)) for key in keys] for entry in entries]


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


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    return ", ".join(map(_plain, value)) if isinstance(value, list) else str(value)


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
