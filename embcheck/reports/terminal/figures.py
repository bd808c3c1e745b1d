"""What ``embcheck list --published`` prints."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from embcheck import published
from embcheck.reports.text import wrap
from embcheck.reports.wording import WIDTH, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embcheck.published import Entry

__all__ = ["listed"]

_NO_MODEL = "no model told"


def listed() -> Iterator[Line]:
    """Every model with its published figures, the property that they are of, and where they are from."""
    ordered = sorted(published.entries(), key=lambda entry: (entry.model is None, (entry.model or "").casefold()))
    for model, entries in groupby(ordered, key=lambda entry: entry.model):
        yield Line(model or _NO_MODEL, "title")
        for entry in entries:
            yield from _entry(entry)


def _entry(entry: Entry) -> Iterator[Line]:
    figures = [f"{_name(figure.name)} {figure}" for figure in entry.figures]
    figures += [f"({entry.rows} rows)"] if entry.rows else []
    yield from _wrapped(f"  {entry.property}: ", figures)
    yield from _wrapped("    from: ", entry.source.split(" "), gap=" ")
    if entry.unchecked:
        yield from _wrapped("    listed only: ", entry.unchecked.split(" "), gap=" ")


def _name(name: str) -> str:
    return repr(name) if name.startswith(" ") else name.replace("_", " ")


def _wrapped(first: str, pieces: list[str], gap: str = "  ") -> list[Line]:
    return [Line(text) for text in wrap(pieces, width=WIDTH, first=first, indent="      ", gap=gap)]
