"""What `results.json` says, in the words and numbers of a page."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from embcheck.checks.record import Json

__all__ = ["NONE", "Atlas", "Cell", "Claim", "Tally", "listed", "table", "trend"]

NONE = "-"
"""Stands where a check does not apply."""
_MARKS = {"holds": "✓", "refuted": "✗", "inconclusive": "?", "skipped": "skipped", "error": "error"}


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim in words: in two of them, as a sentence, and what the value is."""

    short: str
    words: str
    value: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One check on one table."""

    verdict: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    rests_on: str | None = None
    there: float | None = None
    reason: str | None = None

    @property
    def text(self) -> str:
        """The value with its interval."""
        if self.value is None:
            return self.reason or ""
        if self.low == self.high:
            return f"{number(self.value)} (exact)"
        ends = [self.value, self.low or 0.0, self.high or 0.0]
        value, low, high = map(number, ends)
        if low == high:  # so narrow that four digits don't tell
            value, low, high = (f"{end:.6g}" for end in ends)
        return f"{value} [{low}, {high}]"

    @property
    def short(self) -> str:
        """A mark for the verdict, and the value without its interval."""
        return f"{_MARKS[self.verdict]} {'' if self.value is None else f'{self.value:.3g}'}".strip()


@dataclass(frozen=True, slots=True)
class Tally:
    """One check over the tables that it applies to."""

    cells: dict[str, Cell]

    @property
    def measured(self) -> dict[str, Cell]:
        """Those with a value."""
        return {name: cell for name, cell in self.cells.items() if cell.value is not None}

    @property
    def holding(self) -> list[str]:
        """The tables on which it holds."""
        return [name for name, cell in self.cells.items() if cell.verdict == "holds"]

    @property
    def failing(self) -> list[str]:
        """The other tables on which it was measured, each with its verdict and its value."""
        others = {name: cell for name, cell in self.measured.items() if cell.verdict != "holds"}
        return [f"{name} ({cell.verdict}: {cell.text})" for name, cell in others.items()]

    @property
    def unmeasured(self) -> list[str]:
        """The tables on which it could not be measured, each with the reason."""
        return [f"{name} ({cell.text})" for name, cell in self.cells.items() if cell.value is None]

    @property
    def count(self) -> str:
        """``8 of 9``."""
        return f"{len(self.holding)} of {len(self.measured)}"

    @property
    def answer(self) -> str:
        """``holds on 8 of 9 tables, not on ...; not measured on ...``, with verdicts, values and reasons."""
        n = len(self.measured)
        said = f"holds on {f'all {n}' if n == len(self.holding) else self.count} tables"
        said += f", not on {listed(self.failing)}" if self.failing else ""
        return said + (f"; not measured on {listed(self.unmeasured)}" if self.unmeasured else "")

    @property
    def range(self) -> str:
        """The smallest value to the largest."""
        values = sorted(cell.value for cell in self.measured.values() if cell.value is not None)
        return " to ".join(dict.fromkeys(number(value) for value in values[:1] + values[-1:]))

    def between(self, low: float, high: float) -> list[str]:
        """The tables whose value is larger than the one and smaller than the other, each with it."""
        values = {name: cell.value for name, cell in self.cells.items() if cell.value is not None}
        return [f"{name} ({number(value)})" for name, value in values.items() if low < value < high]

    def among(self, names: Sequence[str]) -> Tally:
        """The same over some of the tables."""
        return Tally({name: cell for name, cell in self.cells.items() if name in names})


@dataclass(frozen=True)
class Atlas:
    """All that was measured."""

    document: Json

    @property
    def tables(self) -> list[Json]:
        """The tables, in the order of the page."""
        tables: list[Json] = self.document["tables"]
        return tables

    @cached_property
    def names(self) -> list[str]:
        """Of the tables."""
        return [each["name"] for each in self.tables]

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Of each table."""
        return {each["name"]: each["kind"] for each in self.tables}

    @property
    def by_kind(self) -> dict[str, list[str]]:
        """The tables of each kind."""
        return {kind: [name for name in self.names if self.kinds[name] == kind] for kind in self.kinds.values()}

    def facts(self, name: str) -> dict[str, Any]:
        """By table, a number beside the estimates; of those that have it."""
        return {each["name"]: each["facts"][name] for each in self.tables if name in each["facts"]}

    def tally(self, check: str) -> Tally:
        """One check over the tables that it applies to."""
        cells = {each["name"]: Cell(*each["results"][check]) for each in self.tables if check in each["results"]}
        return Tally(cells)

    def checks(self, property_id: str = "") -> list[str]:
        """The checks that apply to a table, of one property or of all."""
        return [
            check
            for check in self.document["checks"]
            if property_id in {"", check.partition("[")[0]} and self.tally(check).cells
        ]

    @property
    def properties(self) -> list[str]:
        """Those of which a check applies to a table."""
        return list(dict.fromkeys(check.partition("[")[0] for check in self.checks()))

    @property
    def asked_in_vain(self) -> list[str]:
        """The properties that apply to none of the tables, nor to pairs of them."""
        apply = {*self.properties, *(each["property"] for each in self.document["pairs"])}
        every = dict.fromkeys(check.partition("[")[0] for check in self.document["checks"])
        return [name for name in every if name not in apply]

    @property
    def pairs(self) -> dict[str, Tally]:
        """By property of two tables, its results on their pairs."""
        tallies: dict[str, dict[str, Cell]] = {}
        for each in self.document["pairs"]:
            tallies.setdefault(each["property"], {})[" and ".join(each["models"])] = Cell(*each["result"])
        return {name: Tally(cells) for name, cells in tallies.items()}

    def ratios(self, part: str, whole: str) -> list[str]:
        """One of these numbers of another, by table."""
        wholes = self.facts(whole)
        return [f"{n} of {wholes[name]} on {name}" for name, n in self.facts(part).items()]

    def where(self, fact: str, value: float) -> list[str]:
        """The tables that have this number beside the estimates."""
        return [name for name, number_there in self.facts(fact).items() if number_there == value]

    def not_above(self, fact: str, other: str) -> list[str]:
        """The tables on which one of these numbers is no larger than another."""
        others = self.facts(other)
        return [name for name, number_there in self.facts(fact).items() if number_there <= others[name]]

    def percents(self, fact: str) -> list[str]:
        """These numbers as percentages, by table."""
        return [f"{value:.0f}% on {name}" for name, value in self.facts(fact).items()]

    def range(self, fact: str) -> str:
        """The smallest of these numbers to the largest."""
        values = sorted(self.facts(fact).values())
        return f"{number(values[0])} to {number(values[-1])}"

    def rungs(self, property_id: str) -> Counter[str]:
        """How often each rung of the ladder was the lowest to suffice, over all tables and parameters."""
        cells = [cell for check in self.checks(property_id) for cell in self.tally(check).cells.values()]
        return Counter(cell.rests_on for cell in cells if cell.rests_on)


def listed(words: Sequence[str], none: str = "none") -> str:
    """Words with commas and an *and*."""
    *before, last = words or [none]
    return f"{', '.join(before)} and {last}" if before else last


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def trend(x: Sequence[float], y: Sequence[float]) -> str:
    """Whether y rises with x: Spearman's correlation, with a 95% interval as Bonett and Wright (2000) have it."""
    from scipy import stats

    rho = float(stats.spearmanr(x, y).statistic)
    half = 1.96 * math.sqrt((1 + rho**2 / 2) / (len(x) - 3))
    low, high = (math.tanh(math.atanh(rho) + sign * half) for sign in (-1, 1))
    how = "rise" if low > 0 else "fall" if high < 0 else "neither rise nor fall clearly"
    return f"{how} (rank correlation {rho:.2f} [{low:.2f}, {high:.2f}], n = {len(x)})"
