"""Published figures: beside those measured, as reports show them, and all of them, as ``list --published`` does."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from embcheck import published
from embcheck.reports.text import columns, number, safe, wrap
from embcheck.reports.wording import WIDTH, Line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from embcheck.checks.record import ResultRecord

_NAME = 28


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure in words: numbers with as many digits as it takes to see the difference."""

    name: str
    ours: str
    published: str
    tolerance: str
    within: bool
    source: str


def of(result: ResultRecord) -> list[Compared]:
    """The figures that a result compares; none where it is another measure's."""
    rows = result.details.get("published_figures", []) if result.measure == "published_deviation" else []
    return [
        Compared(
            row["figure"],
            f"{row['ours']:.{len(row['printed'].partition('.')[2]) + 2}f}",  # two digits more than were printed
            row["printed"],
            number(row["tolerance"]),
            row["within"],
            row["source"],
        )
        for row in rows
    ]


def lines(figures: Sequence[Compared], *, indent: str, encoding: str = "utf-8") -> list[str]:
    """A table of at most 80 columns: figure, ours, published, tolerance."""
    table = [f"{indent}{'figure':<{_NAME}}{'ours':>12}{'published':>12}{'tolerance':>11}"]
    for row in figures:
        name = safe(row.name, _NAME - 1, encoding=encoding)
        numbers = f"{row.ours:>12}{row.published:>12}{row.tolerance:>11}{'' if row.within else ' !'}"
        table.append(f"{indent}{name}{' ' * (_NAME - columns(name))}{numbers}")
    return table


def listed() -> Iterator[Line]:
    """Every model with its published figures, the property that they are of, and where they are from."""
    ordered = sorted(published.entries(), key=lambda entry: (entry.model is None, (entry.model or "").casefold()))
    for model, entries in groupby(ordered, key=lambda entry: entry.model):
        yield Line(model or "no model told", "title")
        for entry in entries:
            figures = [f"{_name(figure.name)} {figure}" for figure in entry.figures]
            figures += [f"({entry.rows} rows)"] if entry.rows else []
            yield from _wrap(f"  {entry.property}: ", figures)
            yield from _wrap("    from: ", entry.source.split(" "), gap=" ")
            if entry.unchecked:
                yield from _wrap("    listed only: ", entry.unchecked.split(" "), gap=" ")


def _name(name: str) -> str:
    return repr(name) if name.startswith(" ") else name.replace("_", " ")


def _wrap(first: str, pieces: list[str], gap: str = "  ") -> Iterator[Line]:
    yield from map(Line, wrap(pieces, width=WIDTH, first=first, indent="      ", gap=gap))
