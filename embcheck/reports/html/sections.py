"""The parts of a page: what is said of its models, and for each property all results with their pictures."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from embcheck.progress import track
from embcheck.reports.html import pictures
from embcheck.reports.html.ranges import axis_of
from embcheck.reports.html.rows import GLYPHS, command, describe, parameter
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from embcheck.checks.record import ModelRecord, Report, ResultRecord
    from embcheck.reports.html.pictures import Figure, Shown
    from embcheck.reports.html.ranges import Axis
    from embcheck.reports.html.rows import Row

__all__ = ["Group", "Section", "facts", "levels", "sections", "shape", "tally"]


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
    """Of all its results together."""
    measured: str
    """What was measured, where all results measure the same."""


def levels(results: Iterable[ResultRecord]) -> str:
    """Confidence level of the intervals, such as ``95%``."""
    each = {result.estimate.confidence_level for result in results if result.estimate}
    return " or ".join(f"{number(100 * level)}%" for level in sorted(each)) or "95%"


def tally(results: Iterable[ResultRecord]) -> tuple[tuple[str, int], ...]:
    """How many results have each verdict, those there are."""
    counts = Counter(str(result.verdict) for result in results)
    return tuple((verdict, counts[verdict]) for verdict in GLYPHS if counts[verdict])


def facts(model: ModelRecord) -> Iterator[tuple[str, str]]:
    """What was read, name by name."""
    yield "named", model.spec
    yield "revision", model.revision or ""
    yield "matrix", shape(model)
    if population := model.population:
        yield "claims are about", f"{population.rows:,} rows ({population.kind})"
        out = (f"{n:,} {reason.replace('_', ' ')}" for reason, n in sorted(population.excluded.items()))
        yield "left out", ", ".join(out)
    yield "sha256 of the weights", model.weights_sha256 or ""
    yield "sha256 of the tokens", model.tokens_sha256 or ""
    yield "unused baseline entries", ", ".join(model.unused)


def shape(model: ModelRecord) -> str:
    """Rows, width and type of the matrix."""
    return "not loaded" if model.shape is None else "{:,} rows x {} {}".format(*model.shape, model.dtype)


def sections(report: Report) -> list[Section]:
    """The properties of a report, in order of their ids."""
    by_property: dict[str, list[Shown]] = defaultdict(list)
    for index, model in enumerate(report.models):
        for result in model.results:
            by_property[result.id].append(pictures.Shown(model.alias, index, model.shape or (0, 1), result))
    work = track(sorted(by_property.items()), "pictures", len(by_property), lambda entry: entry[0])
    return [_section(report, f"p{place}", shown) for place, (_, shown) in enumerate(work)]


def _section(report: Report, anchor: str, shown: Sequence[Shown]) -> Section:
    """The results of one property."""
    first = shown[0].result
    axis = axis_of(entry.result for entry in shown)
    rows = []
    for entry in shown:
        again = command(report, report.models[entry.index], entry.result)
        rows.append(describe(entry.result, axis, alias=entry.alias, model=entry.index, command=again))
    values = [_value_of(entry.result) for entry in shown]
    groups = []
    titles = [parameter(entry.result) for entry in shown]
    for title in dict.fromkeys(titles):
        chosen = [i for i, each in enumerate(titles) if each == title]
        kinds = zip_longest(*(pictures.draw_each(shown[i]) for i in chosen))  # one beside the other, model by model
        figures = tuple(figure for kind in kinds for figure in kind if figure is not None)
        chosen.sort(key=lambda i: -values[i])
        groups.append(Group(title, tuple(rows[i] for i in chosen), figures))
    names = {entry.result.estimate.name for entry in shown if entry.result.estimate} - {""}
    return Section(
        anchor,
        first.id,
        first.sentence,
        axis,
        tuple(groups),
        tuple(tuple(row for row in rows if row.model == index) for index in range(len(report.models))),
        tuple(pictures.draw_together(shown)),
        names.pop() if len(names) == 1 else "",
    )


def _value_of(result: ResultRecord) -> float:
    estimate = result.estimate
    return float("-inf") if estimate is None or estimate.value is None else float(estimate.value)
