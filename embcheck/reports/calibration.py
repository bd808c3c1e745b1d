"""The document of ``selftest`` as lines for a terminal, and as the page that explains its table."""

from __future__ import annotations

import importlib.resources
import math
from typing import TYPE_CHECKING

from embcheck.reports.text import cut, safe, wrap
from embcheck.reports.wording import WIDTH, Line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from embcheck.checks.record import Json
    from embcheck.reports.wording import Style

_HEADINGS = ("property", "noise: holds", "covers", "uniform", "planted", "")
_WIDTHS = (29, 15, 13, 9, 9, 5)
_MUST = {"fails": "", "holds": " must", "any": " may"}


def lines(document: Json, *, encoding: str = "utf-8") -> Iterator[Line]:
    """A row for each property, what is wrong with it below, and how many are calibrated."""
    yield Line(_aligned(_HEADINGS), "title")
    for row in document["properties"]:
        name = safe(row["property"], _WIDTHS[0] - 1, encoding=encoding)
        word, style = _verdict(row)
        if cells := _cells(row, document):
            yield Line(_aligned((name, *cells, word)), style)
            for fault in row["faults"]:
                yield from _prose(fault, "  ", encoding, style)
            for shape, outcome in row["shapes"].items():
                cells = (f"  {shape}", *_shape_cells(outcome), "", "", "")
                yield Line(_aligned(cells), "dim")
        else:
            yield from _prose(row["reason"], f"{name:<{_WIDTHS[0]}}not simulated: ", encoding, style)
    for row in document.get("ladder", ()):
        cells = (f"ladder: {row['planted']}", _named(row), "", "", "", "ok" if row["calibrated"] else "NO")
        yield Line(_aligned(cells), "plain" if row["calibrated"] else "fail")
    yield Line("")
    is_calibrated = all(row["calibrated"] for row in document["properties"])
    yield from _prose(_counts(document), "", encoding, "pass" if is_calibrated else "fail")


def _prose(text: str, first: str, encoding: str, style: Style) -> Iterator[Line]:
    for line in wrap([safe(text, 10 * WIDTH, encoding=encoding)], width=WIDTH, first=first, indent=" " * 4):
        yield Line(line, style)


def _named(row: Json) -> str:
    """On how many tables the planted rung was named, and what was named elsewhere."""
    others = ", ".join(f"{n} {name}" for name, n in row["named"].items() if name != row["planted"])
    return f"{row['right']}/{row['tables']}" + (f" ({others})" if others else "")


def _verdict(row: Json) -> tuple[str, Style]:
    if not row["calibrated"]:
        return "NO", "fail"
    return ("-", "dim") if row["reason"] else ("ok", "plain")


def _aligned(cells: tuple[str, ...]) -> str:
    return "".join(f"{cut(cell, width - 1):<{width}}" for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


def _cells(row: Json, document: Json) -> tuple[str, ...]:
    """What the property gave on noise, by coverage, of p-values and where structure was planted; none unsimulated."""
    if row["reason"] or not row["cases"]:
        return ()
    noise = [case["noise"] for case in row["cases"] if case["noise"]["reason"] is None]
    planted = [case["planted"] for case in row["cases"] if case["planted"]["reason"] is None]
    worst = max if row["on_noise"] == "fails" else min
    on_noise = worst(noise, key=lambda outcome: outcome["holds"] / max(1, outcome["tables"]))
    least = min(planted, key=lambda outcome: outcome["found"] / outcome["tables"]) if planted else None
    return (
        f"{on_noise['holds']}/{on_noise['tables']}{_MUST[row['on_noise']]}",
        _covers(row["coverage"], (0.0, document["limits"]["coverage"][1])),
        "no null" if row["uniform"] is None else f"{row['uniform']:.2g}",
        "nothing" if least is None else f"{least['found']}/{least['tables']}",
    )


def _shape_cells(outcome: Json) -> tuple[str, str]:
    """On how many tables of a shape without structure it holds, and how often the interval covers with it."""
    return f"{outcome['holds']}/{outcome['tables']}", _covers(outcome["coverage"], outcome["limits"])


def _covers(coverage: Json, limits: Sequence[float]) -> str:
    if (share := coverage["share"]) is None:
        return str(coverage["reason"])
    low, high = limits
    return f"{100 * share:.1f}%" + (" wide" if share > high else " low" if share < low else "")


def _counts(document: Json) -> str:
    rows = document["properties"]
    bad = [row["property"] for row in rows if not row["calibrated"]]
    apart = sum(bool(row["reason"]) and row["calibrated"] for row in rows)
    text = f"{len(rows) - len(bad) - apart} calibrated"
    text += f", {len(bad)} not: {', '.join(bad)}" if bad else ""
    return text + (f", {apart} not simulated" if apart else "")


# --- the page -------------------------------------------------------------------------------------------------------


def markdown(document: Json, version: str) -> str:
    """The page: what was simulated, the table, what its columns mean and how much they vary by chance."""
    template = importlib.resources.files(__package__).joinpath("calibration-page.md").read_text(encoding="utf-8")
    limits, redraws = document["limits"], document["redraws"]
    low, high = limits["coverage"]
    return template.format(
        **{key: document[key] for key in ("tables", "redraws", "seed")},
        **document["design"],
        version=version,
        table="\n".join(_table_row(row, document) for row in document["properties"]),
        ladder="\n".join(f"| {row['planted']} | {_named(row)} |" for row in document.get("ladder", ())),
        verdict="\n".join(_verdicts(document)),
        most=limits["false_passes"],
        low=f"{100 * low:.1f}",
        high=f"{100 * high:.1f}",
        error=f"{100 * math.sqrt(0.95 * 0.05 / redraws):.1f}",
    )


def _table_row(row: Json, document: Json) -> str:
    cells = _cells(row, document) or (f"not simulated: {row['reason']}", "", "", "")
    line = f"| `{safe(row['property'], 60)}` | " + " | ".join(map(_inert, (*cells, _verdict(row)[0]))) + " |"
    shapes = [
        f"| {_inert(shape)} | " + " | ".join(map(_inert, (*_shape_cells(outcome), "", ""))) + " | |"
        for shape, outcome in row["shapes"].items()
    ]
    return "\n".join([line, *shapes])


def _inert(text: str) -> str:
    return safe(text, 300).translate({ord(mark): f"&#{ord(mark)};" for mark in "|<>`*_[]"})


def _verdicts(document: Json) -> Iterator[str]:
    yield _counts(document) + "."
    for row in document["properties"]:
        for fault in () if row["reason"] else row["faults"]:
            yield f"- `{safe(row['property'], 60)}`: {_inert(fault)}"
