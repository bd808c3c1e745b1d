"""The parts of a page: its models, and for each property all results with their pictures."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from embcheck.progress import track
from embcheck.reports.html import pictures
from embcheck.reports.html.ranges import axis_of
from embcheck.reports.html.rows import GLYPHS, describe
from embcheck.reports.text import number
from embcheck.reports.wording import is_known_exception

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from embcheck.checks.record import ModelRecord, Report, ResultRecord
    from embcheck.reports.html.pictures import Figure, Shown
    from embcheck.reports.html.ranges import Axis
    from embcheck.reports.html.rows import Row

__all__ = ["Group", "Model", "Section", "levels", "models", "sections", "verdict_counts"]


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


def verdict_counts(results: Iterable[ResultRecord]) -> tuple[tuple[str, int], ...]:
    """How many results have each verdict, those there are."""
    counts = Counter(str(result.verdict) for result in results)
    return tuple((verdict, counts[verdict]) for verdict in GLYPHS if counts[verdict])


def models(report: Report) -> Iterator[Model]:
    """The models of a report."""
    for index, model in enumerate(report.models):
        results = model.results
        shape = "not loaded" if model.shape is None else "{:,} rows x {} {}".format(*model.shape, model.dtype)
        held = sum(result.verdict == "holds" for result in results)
        excused = sum(map(is_known_exception, results))
        facts = tuple((name, text) for name, text in _facts(model, shape) if text)
        yield Model(index, model.alias, shape, facts, verdict_counts(results), len(results), held, excused)


def _facts(model: ModelRecord, shape: str) -> Iterator[tuple[str, str | None]]:
    yield "named", model.spec
    yield "revision", model.revision
    yield "matrix", shape
    if population := model.population:
        yield "claims are about", f"{population.rows:,} rows ({population.kind})"
        out = (f"{n:,} {reason.replace('_', ' ')}" for reason, n in sorted(population.excluded.items()))
        yield "left out", ", ".join(out)
    yield "sha256 of the weights", model.weights_sha256
    yield "sha256 of the tokens", model.tokens_sha256
    yield "unused baseline entries", ", ".join(model.unused)


def sections(report: Report) -> list[Section]:
    """The properties of a report, in order of their ids."""
    by_property: dict[str, list[Shown]] = defaultdict(list)
    for index, model in enumerate(report.models):
        for result in model.results:
            by_property[result.id].append(pictures.Shown(model.alias, index, model.shape or (0, 1), result))
    in_order = track(sorted(by_property.items()), "pictures", len(by_property), lambda entry: entry[0])
    return [_section(report, f"p{place}", shown) for place, (_, shown) in enumerate(in_order)]


def _section(report: Report, anchor: str, shown: Sequence[Shown]) -> Section:
    """The results of one property."""
    first = shown[0].result
    axis = axis_of(entry.result for entry in shown)
    rows = [describe(report, entry.index, entry.result, axis) for entry in shown]
    values = [_value_of(entry.result) for entry in shown]
    groups = []
    for title in dict.fromkeys(row.parameter for row in rows):
        chosen = [i for i, row in enumerate(rows) if row.parameter == title]
        kinds = zip_longest(*(pictures.draw_each(shown[i]) for i in chosen))  # one beside the other, model by model
        figures = tuple(figure for kind in kinds for figure in kind if figure is not None)
        chosen.sort(key=lambda i: -values[i])
        groups.append(Group(title, tuple(rows[i] for i in chosen), figures))
    names = {row.name for row in rows if row.name}
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
