"""Rows as text for a terminal and as a table for a page."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.registry import Row

__all__ = ["machine_line", "markdown", "replace_table", "text"]

BEGIN, END = "<!-- benchmarks: {} -->", "<!-- benchmarks: end -->"
_DIGITS = {"s": 3, "ms": 1, "MB": 0}


def machine_line(machine: dict[str, Any]) -> str:
    """The machine in one line."""
    versions = ", ".join(f"{name} {found}" for name, found in machine["versions"].items() if found)
    gpu = f", {machine['gpu']}" if machine["gpu"] else ""
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, {machine['memory_gb']} GB, "
        f"load {machine['load_average']:.1f} at the start{gpu}; Python {machine['python']}; {versions}"
    )


def _figure(values: Sequence[float], unit: str) -> str:
    """The median, with the smallest and the largest where there are several."""
    if not values:
        return "-"
    least, middle, most = (f"{v:.{_DIGITS[unit]}f}" for v in (min(values), statistics.median(values), max(values)))
    return f"{middle} {unit}" if len(values) == 1 or least == most else f"{middle} ({least} to {most}) {unit}"


def _verdict(row: Row) -> str:
    return {True: "met", False: "NOT MET", None: "-"}[row.met]


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def text(row: Row) -> str:
    """Two or three lines of a terminal."""
    figures = f"{_figure(row.ours, row.unit)} against {_figure(row.theirs, row.unit)}, ratio {_ratio(row.ratio)}"
    target = f", target {_ratio(row.target)}: {_verdict(row)}" if row.target is not None else ""
    lines = [f"{row.benchmark}: {row.what}", f"  {figures}{target}  ({row.against}; {len(row.ours)} repeats)"]
    return "\n".join([*lines, f"  {row.note}"] if row.note else lines)


def markdown(machine: dict[str, Any], rows: Sequence[Row]) -> str:
    """The machine and the table of a page."""
    lines = [f"Measured on {machine_line(machine)}.", "", "| what | ours | against | theirs | ratio | target | |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in rows:
        what = f"{row.what}<br>*{row.note}*" if row.note else row.what
        figures = (_figure(row.ours, row.unit), row.against, _figure(row.theirs, row.unit))
        cells = (what, *figures, _ratio(row.ratio), _ratio(row.target), _verdict(row))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def replace_table(page: Path, machine: dict[str, Any], rows: Sequence[Row]) -> None:
    """Put the table between the markers of a page that name the machine's processor.

    Raises
    ------
    ValueError
        The page has no such markers.
    """
    mark = BEGIN.format(machine["processor"])
    before, begin, rest = page.read_text(encoding="utf-8").partition(mark)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no {mark} and {END} to put the table between")
    page.write_text(f"{before}{mark}\n\n{markdown(machine, rows)}\n\n{END}{after}", encoding="utf-8")
