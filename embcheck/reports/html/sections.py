"""What a page is made of: a section a property, and first what decides whether the run passes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embcheck.progress import track
from embcheck.reports.html import pictures
from embcheck.reports.html.rows import Axis, Row, axis_of, command, describe, parameter
from embcheck.reports.wording import FAILURES, change_of, control_text, failure, state_word, such_as, urgency

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from embcheck.checks.record import Report, ResultRecord
    from embcheck.reports.html.pictures import Figure, Shown


@dataclass(frozen=True, slots=True)
class Problem:
    """The checks of one property that fail on one model for one reason."""

    kind: str
    anchor: str
    id: str
    alias: str
    model: int
    rows: tuple[Row, ...]
    why: str
    """The numbers, or what all have in common; empty where each has its own."""


@dataclass(frozen=True, slots=True)
class Group:
    """The results of one property and parameter, on all models, largest value first."""

    title: str
    rows: tuple[Row, ...]
    figures: tuple[Figure, ...]

    @property
    def is_applicable(self) -> bool:
        """Whether it is about any of the models."""
        return any(row.verdict != "not_applicable" for row in self.rows)

    @property
    def reason(self) -> str:
        """Why it is about none, where it is."""
        return self.rows[0].result.reason or "n/a"


@dataclass(frozen=True, slots=True)
class Section:
    """All results of one property."""

    anchor: str
    id: str
    sentence: str
    axis: Axis | None
    groups: tuple[Group, ...]
    cells: tuple[tuple[Row, ...], ...]
    """For each model, its results, in order of the parameters."""
    figures: tuple[Figure, ...]
    """Of all its results together."""
    measured: str
    """What was measured, where all results measure the same."""
    is_description: bool
    """Whether it only describes, and nothing of it fails."""

    @property
    def rows(self) -> Iterator[Row]:
        """The results of all groups."""
        return (row for group in self.groups for row in group.rows)

    @property
    def urgency(self) -> int:
        """That of its worst result."""
        return min(urgency(row.result) for row in self.rows)


def sections(report: Report) -> list[Section]:
    """The properties of a report: what fails first, what only describes last, then in order of their ids."""
    by_property: dict[str, list[Shown]] = defaultdict(list)
    for index, model in enumerate(report.models):
        for result in model.results:
            by_property[result.id].append(pictures.Shown(model.alias, index, model.shape or (0, 1), result))
    work = track(sorted(by_property.items()), "pictures", len(by_property), lambda entry: entry[0])
    made = [_section(report, f"p{index}", shown) for index, (_, shown) in enumerate(work)]
    return sorted(made, key=lambda section: (section.is_description, section.urgency))


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
        figures = tuple(pictures.draw_beside([shown[i] for i in chosen]))
        chosen.sort(key=lambda i: (urgency(shown[i].result), -values[i]))
        groups.append(Group(title, tuple(rows[i] for i in chosen), figures))
    groups.sort(key=lambda group: min(urgency(row.result) for row in group.rows))
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
        all(entry.result.kind == "description" and entry.result.passes for entry in shown),
    )


def _value_of(result: ResultRecord) -> float:
    estimate = result.estimate
    return float("-inf") if estimate is None or estimate.value is None else float(estimate.value)


# --- what decides -----------------------------------------------------------------------------------------------------


def problems(parts: Sequence[Section]) -> list[Problem]:
    """What fails, the worst first, then model by model."""
    order = list(FAILURES)
    failing: dict[tuple[int, int, int], list[Row]] = defaultdict(list)
    for index, part in enumerate(parts):
        for row in part.rows:
            if not row.result.passes:
                failing[order.index(failure(row.result) or "holds"), row.model, index].append(row)
    return [
        Problem(
            FAILURES[order[kind]],
            parts[index].anchor,
            parts[index].id,
            rows[0].alias,
            model,
            tuple(rows),
            whys.pop() if len(whys := {_why(order[kind], row) for row in rows}) == 1 else "",
        )
        for (kind, model, index), rows in sorted(failing.items(), key=lambda item: item[0])
    ]


def kinds_of(result: ResultRecord) -> list[str]:
    """A result's verdict, and what may decide beside it: its change, its control, an exception that holds."""
    kinds = [str(result.verdict)]
    if result.change and (state := state_word(result.change)) not in {"match", "improved"}:
        kinds.append(state)
    if result.control and result.control.vacuous:
        kinds.append("vacuous")
    if not result.expected and result.verdict == "holds":
        kinds.append("exception")
    return kinds


def _why(kind: str, row: Row) -> str:
    """The numbers that a check fails by."""
    change, control = row.result.change, row.result.control
    if change and kind == change.state:
        why = "; ".join(text for text in (change_of(row.result), change.reason) if text) or row.word
    elif control and kind == "vacuous":
        return control_text(control)
    else:
        why = row.word.partition(": ")[2] or row.word
    return "; ".join(filter(None, (why, such_as(row.result))))
