"""Published figures beside those measured, as the reports show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from embcheck.reports.measure import measure_of
from embcheck.reports.text import columns, number, safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embcheck.checks.record import ResultRecord

__all__ = ["Compared", "lines", "of"]

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
    rows = result.details.get("published_figures", []) if measure_of(result) == "published_deviation" else []
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
