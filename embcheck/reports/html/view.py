"""The report document in the words of a page: what templates show, computed beforehand."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embcheck.errors import SpecError
from embcheck.reports.html.ranges import Axis, Range, axis_of, range_of
from embcheck.reports.terminal import bound_text, change_text, label
from embcheck.reports.text import number
from embcheck.spec import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from embcheck.reports.html.pictures import Figure

__all__ = ["GLYPHS", "Group", "Model", "Row", "Section", "models", "parameter", "row", "sections", "verdict_counts"]

GLYPHS = {"": "", "holds": "\u2713", "refuted": "\u2717", "inconclusive": "?", "skipped": "\u2013", "error": "!"}
_ORDER = tuple(GLYPHS)
_WORDS = {
    "": "",
    "holds": "the claim holds",
    "refuted": "the claim is refuted",
    "inconclusive": "the claim is undecided",
    "skipped": "not measured",
    "error": "could not be run",
}
_DECIMALS = 9


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the top of the page shows it."""

    index: int
    alias: str
    shape: str
    facts: tuple[tuple[str, str], ...]
    """What was read, name by name."""
    counts: tuple[tuple[str, int], ...]
    """Verdicts and how many checks have them, those there are."""
    checks: int
    held: int
    excused: int


@dataclass(frozen=True, slots=True)
class Row:
    """One result."""

    model: int
    alias: str
    label: str
    parameter: str
    verdict: str
    glyph: str
    word: str
    expected: bool
    failed: bool
    value: str
    interval: str
    exact: bool
    chance: str
    """The largest p-value against the nulls to be beaten, where only they decide."""
    counted: str
    name: str
    range: Range | None
    claims: tuple[tuple[str, str], ...]
    nulls: tuple[tuple[str, str, str, str], ...]
    effect: str
    method: str
    seed: int
    reason: str
    note: str
    change: str
    counterexamples: tuple[tuple[str, ...], ...]
    columns: tuple[str, ...]
    command: str
    control: str


@dataclass(frozen=True, slots=True)
class Group:
    """The results of one property and parameter, on all models, largest value first."""

    title: str
    rows: tuple[Row, ...]
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """All results of one property."""

    anchor: str
    property: str
    sentence: str
    axis: Axis | None
    groups: tuple[Group, ...]
    cells: tuple[tuple[Row, ...], ...]
    """For each model, its results, in order of the parameters."""
    figures: tuple[Figure, ...]
    measured: str
    """What was measured, where all results measure the same."""


def levels(results: Sequence[Mapping[str, Any]]) -> str:
    """Confidence level of the intervals, such as ``95%``."""
    found = {result["estimate"]["confidence_level"] for result in results if result["estimate"]}
    return " or ".join(f"{number(100 * level)}%" for level in sorted(found)) or "95%"


def models(document: Mapping[str, Any]) -> tuple[Model, ...]:
    """The models of a report."""
    return tuple(_model(index, model) for index, model in enumerate(document["models"]))


def _model(index: int, model: Mapping[str, Any]) -> Model:
    results = model["results"]
    shape = "not loaded" if model["shape"] is None else "{:,} rows x {} {}".format(*model["shape"], model["dtype"])
    held = sum(result["verdict"] == "holds" for result in results)
    excused = sum(not result.get("expected", True) and result["outcome"] == "pass" for result in results)
    facts = tuple((name, text) for name, text in _facts(model, shape) if text)
    return Model(index, model["alias"], shape, facts, verdict_counts(results), len(results), held, excused)


def _facts(model: Mapping[str, Any], shape: str) -> Iterator[tuple[str, str]]:
    yield "named", model["spec"]
    yield "revision", model["revision"] or ""
    yield "matrix", shape
    if population := model["population"]:
        yield "claims are about", f"{population['rows']:,} rows ({population['kind']})"
        out = (f"{n:,} {reason.replace('_', ' ')}" for reason, n in sorted(population["excluded"].items()))
        yield "left out", ", ".join(out)
    yield "sha256 of the weights", model["weights_sha256"] or ""
    yield "sha256 of the tokens", model["tokens_sha256"] or ""
    yield "unused baseline entries", ", ".join(model.get("unused", ()))


def verdict_counts(results: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, int], ...]:
    """How many results have each verdict, those there are."""
    counts = Counter(str(result["verdict"]) for result in results)
    return tuple((verdict, counts[verdict]) for verdict in _ORDER if counts[verdict])


def sections(
    document: Mapping[str, Any], figures: Mapping[str, Mapping[str, tuple[Figure, ...]]]
) -> tuple[Section, ...]:
    """The properties of a report, in order of their ids.

    Parameters
    ----------
    figures
        By property, then by parameter, the pictures; under an empty parameter those of all results together.
    """
    by_property: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for index, model in enumerate(document["models"]):
        for result in model["results"]:
            by_property.setdefault(result["property"], []).append((index, result))
    return tuple(
        _section(document, place, name, found, figures.get(name, {}))
        for place, (name, found) in enumerate(sorted(by_property.items()))
    )


def _section(
    document: Mapping[str, Any],
    place: int,
    name: str,
    found: Sequence[tuple[int, Mapping[str, Any]]],
    figures: Mapping[str, tuple[Figure, ...]],
) -> Section:
    axis = axis_of(result for _, result in found)
    rows = [row(document, index, result, axis) for index, result in found]
    values = [_value_of(result) for _, result in found]
    titles = list(dict.fromkeys(one.parameter for one in rows))
    groups = []
    for title in titles:
        chosen = [i for i, one in enumerate(rows) if one.parameter == title]
        chosen.sort(key=lambda i: -values[i])
        groups.append(Group(title, tuple(rows[i] for i in chosen), figures.get(f"={title}", ())))
    cells = tuple(tuple(one for one in rows if one.model == index) for index in range(len(document["models"])))
    names = {one.name for one in rows if one.name}
    measured = names.pop() if len(names) == 1 else ""
    return Section(
        f"p{place}", name, found[0][1]["sentence"], axis, tuple(groups), cells, figures.get("", ()), measured
    )


def _value_of(result: Mapping[str, Any]) -> float:
    estimate = result["estimate"]
    return float("-inf") if estimate is None or estimate["value"] is None else float(estimate["value"])


def row(document: Mapping[str, Any], index: int, result: Mapping[str, Any], axis: Axis | None) -> Row:
    """One result in words."""
    model, verdict = document["models"][index], str(result["verdict"])
    expected = bool(result.get("expected", True))
    columns, entries = _counterexamples(result["counterexamples"])
    numbers = _numbers(result)
    return Row(
        model=index,
        alias=model["alias"],
        label=label(result),
        parameter=parameter(result),
        verdict=verdict,
        glyph=GLYPHS[verdict],
        word=_in_words(result, numbers),
        expected=expected,
        failed=result["outcome"] == "fail",
        **numbers,
        seed=document["run"]["seed"],
        range=range_of(result, axis),
        claims=tuple((bound_text(claim), str(claim["verdict"])) for claim in result["claims"]),
        nulls=tuple(_null(null) for null in result["nulls"]),
        reason=result["reason"] or "",
        note=_note(result),
        change=change_text(result["change"]),
        counterexamples=entries,
        columns=columns,
        command=_command(document, model, result),
        control=""
        if not result["control"]
        else "holds on {holds} of {tables} random tables".format(**result["control"]),
    )


def _numbers(result: Mapping[str, Any]) -> dict[str, Any]:
    """Value, interval and what they rest on, rounded for reading but never onto a bound."""
    estimate = result["estimate"]
    if estimate is None:
        empty = dict.fromkeys(("value", "interval", "chance", "counted", "name", "effect", "method"), "")
        return {**empty, "exact": False}
    ends = [claim[key] for claim in result["claims"] for key in ("bound", "low", "high") if claim.get(key) is not None]
    value, low, high = _together([estimate[key] for key in ("value", "low", "high")], ends)
    level = f"{number(100 * estimate['confidence_level'])}% interval by {estimate['method']}"
    effect = estimate["effect"]
    shown = (
        ""
        if not effect or effect.get("value") is None
        else f"{effect.get('name', 'effect')}: {_plain(effect['value'])}"
    )
    return {
        "value": value,
        "interval": "exact" if estimate["exact"] else f"{low} to {high}",
        "exact": bool(estimate["exact"]),
        "chance": _chance(result),
        "counted": f"{estimate['n']:,} {estimate['unit']}",
        "name": estimate["name"],
        "effect": shown,
        "method": "every unit was measured: exact" if estimate["exact"] else level,
    }


def parameter(result: Mapping[str, Any]) -> str:
    """The parameters as a title: ``relation: capital``."""
    return ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in result["params"].items())


def _in_words(result: Mapping[str, Any], numbers: Mapping[str, Any]) -> str:
    """The verdict as half a sentence: what was measured, and what was claimed of it."""
    verdict, estimate = str(result["verdict"]), result["estimate"]
    if estimate is None:
        return f"{_WORDS[verdict]}: {result['reason']}" if result["reason"] else _WORDS[verdict]
    measured = f"{numbers['value']} ({numbers['interval']})"
    claimed = ", ".join(bound_text(claim).replace("_", " ") for claim in result["claims"])
    return f"{_WORDS[verdict]}: measured {measured}, claimed {claimed}"


def _control(control: Mapping[str, Any] | None) -> str:
    return "" if control is None else f"holds on {control['holds']} of {control['tables']} random tables"


def _chance(result: Mapping[str, Any]) -> str:
    claims = result["claims"]
    found = [null["p_value"] for null in result["nulls"] for c in claims if c["null"] == null["name"]]
    known = [p for p in found if p is not None]
    return f"p = {max(known):.2g}" if known and all(claim["op"] == "beats" for claim in claims) else ""


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


def _null(null: Mapping[str, Any]) -> tuple[str, str, str, str]:
    chances = ("" if null[key] is None else f"{null[key]:.2g}" for key in ("p_value", "p_adjusted"))
    return (null["name"].replace("_", " "), number(null["value"]), *chances)


def _note(result: Mapping[str, Any]) -> str:
    said = result["details"].get("summary")
    return said if isinstance(said, str) else ""


_COLUMNS = {"token": "token", "id": "id", "ids": "ids", "value": "value"}


def _counterexamples(entries: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Columns and rows of the tokens that weigh most against the claim."""
    known = dict.fromkeys(key for entry in entries[:10] for key in entry)
    keys = sorted(known, key=lambda key: ({"token": 0, "id": 1, "ids": 1, "value": 3}.get(key, 2), key))
    rows = tuple(tuple(_plain(entry.get(key)) for key in keys) for entry in entries[:10])
    return tuple(key.replace("_", " ") for key in keys), rows


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return str(value)


def _command(document: Mapping[str, Any], model: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """The command that measures this result again."""
    spec = model["spec"]
    if spec == "memory":
        return f"embcheck.check(model, tokenizer=tokenizer, properties={label(result)!r})"
    other = result["params"].get("other")
    both = [model, *(one for one in document["models"] if one["alias"] == other)]
    words = ["embcheck", "check", *map(_spec, both), "--property", _selection(result)]
    words += ["--seed", str(document["run"]["seed"])] if document["run"]["seed"] else []
    estimate, population = result["estimate"], model["population"]
    if estimate and estimate["confidence_level"] != 0.95:
        words += ["--confidence", number(estimate["confidence_level"])]
    if population and population["kind"] != "known":
        words += ["--population", population["kind"]]
    return shlex.join(words)


def _selection(result: Mapping[str, Any]) -> str:
    """What selects the result; all of the property's where a report, whose keys are sorted, lost their order."""
    return label(result) if len(result["params"]) < 2 else str(result["property"])


def _spec(model: Mapping[str, Any]) -> str:
    """The spec that gives the model its alias."""
    spec = str(model["spec"])
    try:
        named = parse(spec).alias == model["alias"]
    except SpecError:
        named = False
    return spec if named else f"{model['alias']}={spec}"
