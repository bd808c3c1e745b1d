"""Published figures beside those measured, as the reports show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embcheck.reports.text import columns, number, safe

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Compared", "lines", "of"]

_NAME = 28
_PROPERTY = "reproduces_published_figures"


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure in words: numbers with as many digits as it takes to see the difference."""

    name: str
    ours: str
    published: str
    tolerance: str
    within: bool
    source: str


def of(result: Mapping[str, Any]) -> list[Compared]:
    """The figures that a result compares; none where it is another property's."""
    rows = result["details"].get("published_figures", []) if result["property"] == _PROPERTY else []
    return [
        Compared(
            row["figure"],
            _digits(row["ours"], row["printed"]),
            row["printed"],
            number(row["tolerance"]),
            row["within"],
            row["source"],
        )
        for row in rows
    ]


def _digits(ours: float, printed: str) -> str:
    """Two digits more than were printed."""
    return f"{ours:.{len(printed.partition('.')[2]) + 2}f}"


def lines(result: Mapping[str, Any], *, indent: str, encoding: str = "utf-8") -> list[str]:
    """A table of at most 80 columns: figure, ours, published, tolerance."""
    found = [f"{indent}{'figure':<{_NAME}}{'ours':>12}{'published':>12}{'tolerance':>11}"]
    for one in of(result):
        name = safe(one.name, _NAME - 1, encoding=encoding)
        mark = "" if one.within else " !"
        found.append(
            f"{indent}{name}{' ' * (_NAME - columns(name))}{one.ours:>12}{one.published:>12}{one.tolerance:>11}{mark}"
        )
    return found
