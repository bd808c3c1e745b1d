"""Everything a measure kept, as facts and tables: what no picture shows is read here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embcheck.reports.html.rows import plain
from embcheck.reports.html.vega import token
from embcheck.reports.wording import in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from embcheck.checks.record import Json

_SAID = frozenset({"summary", "remark"})  # beside the verdict
_ROWS, _ITEMS, _FEW = 250, 12, 6
Cell = str | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of one entry of the details; ``left_out`` counts the rows that only the JSON has."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left_out: int


def laid_out(details: Json) -> tuple[list[tuple[str, str]], list[Table]]:
    """Facts, by name, and tables. Histograms and square matrices are left to the pictures."""
    facts: list[tuple[str, str]] = []
    tables: list[Table] = []
    for name, value in _entries({key: value for key, value in details.items() if key not in _SAID}):
        table = _table(name, value)
        if table is not None:
            tables.append(table)
        elif (text := _cell(value)) is not None:
            facts.append((name, text))
    return facts, tables


def is_histogram(value: object) -> bool:
    """Whether an entry of details is counts between two ends."""
    return isinstance(value, dict) and {"low", "high", "counts"} <= value.keys()


def is_matrix(value: object) -> bool:
    """Whether it has as many rows as columns, and more than one."""
    return (
        isinstance(value, list)
        and len(value) > 1
        and all(isinstance(row, list) and len(row) == len(value) for row in value)
    )


def _entries(details: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Name and value of what is one fact or one table; a mapping of both is taken apart."""
    for key, value in details.items():
        name = above + str(key).replace("_", " ")
        if is_histogram(value) or is_matrix(value):
            continue
        is_mixed = isinstance(value, dict) and any(map(_is_nested, value.values()))
        if is_mixed and not _is_alike(list(value.values())) and not above.count(":") > 1:
            yield from _entries(value, f"{name}: ")
        else:
            yield name, value


def _is_nested(value: object) -> bool:
    if isinstance(value, list):
        return len(value) > _ITEMS or any(isinstance(item, dict) for item in value)
    return isinstance(value, dict)


def _is_alike(values: Sequence[Any]) -> bool:
    """Whether all are mappings, none of which holds mappings, or several lists of one length."""
    if all(isinstance(value, dict) for value in values):
        return not any(isinstance(item, dict) for value in values for item in value.values())
    return len(values) > 1 and all(isinstance(value, list) for value in values) and len(set(map(len, values))) == 1


def _table(name: str, value: object) -> Table | None:
    """The value as a table; none of what fits on a line."""
    if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        keys = in_order(dict.fromkeys(key for entry in value for key in entry))
        keys.sort(key=lambda key: not isinstance(value[0].get(key), str))  # what a row is about stands first
        return _cut(name, keys, [[entry.get(key) for key in keys] for entry in value])
    if not isinstance(value, dict) or not value:
        return None
    values = list(value.values())
    if all(isinstance(entry, dict) for entry in values):
        keys = in_order(dict.fromkeys(key for entry in values for key in entry))
        return _cut(name, ["", *keys], [[key, *(entry.get(k) for k in keys)] for key, entry in value.items()])
    if isinstance(values[0], list) and _is_alike(values):
        if values[0] and _is_nested(values[0][0]):
            return _cut(name, ["", "values"], [list(entry) for entry in value.items()])
        return _cut(name, list(value), [list(row) for row in zip(*values, strict=True)])
    is_flat = not any(map(_is_nested, values))
    return (
        _cut(name, ["", "value"], [list(entry) for entry in value.items()]) if len(value) > _FEW and is_flat else None
    )


def _cut(name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    cells = tuple(tuple(map(_cell, row)) for row in rows[:_ROWS])
    return Table(name, tuple(str(column).replace("_", " ") for column in columns), cells, max(0, len(rows) - _ROWS))


def _cell(value: object) -> Cell:
    """A value on a line: tokens with their spaces visible, of a long list the first."""
    if value is None:
        return None
    if isinstance(value, dict):
        return ", ".join(f"{str(key).replace('_', ' ')}: {_cell(item)}" for key, item in list(value.items())[:_ITEMS])
    if isinstance(value, list):
        if len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], float):  # a token and its cosine
            return f"{_cell(value[0])} ({plain(value[1])})"
        if not value:
            return "none"
        more = f" and {len(value) - _ITEMS:,} more" if len(value) > _ITEMS else ""
        return ", ".join(str(_cell(item)) for item in value[:_ITEMS]) + more
    return token(value, 60) if isinstance(value, str) else plain(value)
