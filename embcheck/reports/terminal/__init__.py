"""The report for a terminal: at most 80 columns, plain ASCII of its own, what needs looking at first.

``header`` and ``row`` are for who prints each result once there is one; ``lines`` is the report at the end, and does
not say again what was ``streamed`` so. They give text and the name of a style; who prints knows what colours there are.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from embcheck.claims import ends
from embcheck.reports.terminal import rows, table
from embcheck.reports.terminal.rows import row
from embcheck.reports.text import number, safe, wrap
from embcheck.reports.wording import (
    WIDTH,
    Line,
    counts,
    is_aside,
    is_description,
    is_known_exception,
    needs_look,
    share_failing,
    urgency,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from embcheck.checks.record import ModelRecord, Report, ResultRecord
    from embcheck.reports.wording import Style

__all__ = ["Show", "describe", "header", "lines", "row"]

_MOST = 20  # lines of what is said of one model: with those around them it is a screen
_DEPTHS = (3, 2, 1, 0)  # how much is said of each problem
_DESCRIPTIONS = Line("descriptions, of which no verdict fails, only a change from the baseline:", "title")
_PROBLEMS = Line("what needs looking at:", "title")
Show = Literal["fail", "rows", "all", "none"]


def lines(
    report: Report, *, show: Show = "rows", encoding: str = "utf-8", streamed: bool = False, is_told: bool = False
) -> list[Line]:
    """The report: of several models a table; what needs looking at; rows of what holds, as far as they fit; the counts.

    ``fail`` leaves out what needs no looking at, ``none`` all but the counts; ``all`` has every detail of every check.
    Where ``is_told``, what fails was told before, and only ``all`` says it again.
    """
    is_several = len(report.models) > 1
    sections: list[list[Line]] = []
    if is_several and show == "rows":
        sections.append(table.lines(report.models, encoding))
    for model in report.models if show != "none" else ():
        said = filter(None, (model.lost, model.likely))
        notes = [line for note in said for line in rows.paragraph(note, encoding)]
        if show == "all":
            sections.append([*header(model, encoding), *notes, *_everything(model, report.run.seed, encoding)])
            continue
        has_rows = show == "rows" and not is_several
        brief = _held(model, 0, encoding) if has_rows and not streamed else []
        problems = _problems(model, _MOST - len(notes) - len(brief), encoding, is_told=is_told)
        held = _held(model, _MOST - len(notes) - len(problems), encoding) if brief else []
        about = [*problems, *held, *(_not_applicable(model, encoding) if has_rows else [])]
        if streamed and not is_several:
            top = [*notes, *([_PROBLEMS] if problems else [])]
            sections += [[*([Line(""), *top] if top else []), *about]] if top or about else []
        elif notes or problems or not streamed:
            sections.append([*header(model, encoding), *notes, *about])
    shown = [line for section in sections for line in (*section, Line(""))]
    partial = [Line("ended early: this is what was measured until then", "warn")] if report.run.partial else []
    gap = [Line("")] if streamed and (is_several or not shown) else []
    return [*gap, *shown, *partial, *_conclusion(report.results)]


def _conclusion(results: Sequence[ResultRecord]) -> Iterator[Line]:
    """What random tables say of the claims, where they were asked, and how many checks fail."""
    controls = [result.control for result in results if result.control is not None]
    if controls:
        failing = sum(not control.vacuous for control in controls)
        style: Style = "pass" if failing == len(controls) else "fail"
        yield Line(f"control: {failing} of {len(controls)} claims fail on noise as they should", style)
    counted = counts(results)
    first = f"{share_failing(results)}: " if counted.style == "fail" else ""
    words = (first + counted.text).split(" ")
    yield from (Line(text, counted.style) for text in wrap(words, width=WIDTH, indent="  ", gap=" "))


def describe(result: ResultRecord, seed: int, *, encoding: str = "utf-8") -> list[Line]:
    """Everything about one check: the row, then the claim, nulls, worst tokens and reason."""
    return rows.details(result, seed, set(), encoding=encoding)


def header(model: ModelRecord, encoding: str = "utf-8") -> list[Line]:
    """What the claims about a model are about: its matrix, and which rows count."""
    name = safe(model.alias, 40, encoding=encoding)
    population = model.population
    if population is None or model.shape is None:
        return [Line(f"{name}: not loaded", "title")]
    size, width = model.shape
    out = ", ".join(f"{n} {reason}" for reason, n in sorted(population.excluded.items()))
    pieces = [f"{size} x {width} {model.dtype}", f"population {population.kind}: {population.rows} rows"]
    pieces += [f"(left out: {out})"] if out else []
    return [Line(text, "title") for text in wrap(pieces, width=WIDTH, first=f"{name}: ", indent="  ")]


def _everything(model: ModelRecord, seed: int, encoding: str) -> Iterator[Line]:
    """Every detail of every check: what fails, what is claimed, what only describes."""
    said: set[str] = set()
    described = [result for result in model.results if is_description(result)]
    claimed = sorted((result for result in model.results if not is_description(result)), key=urgency)
    for results, title in ((claimed, []), (described, [_DESCRIPTIONS])):
        yield from title if results else ()
        for result in results:
            yield from rows.details(result, seed, said, encoding=encoding)


def _problems(model: ModelRecord, room: int, encoding: str, *, is_told: bool) -> list[Line]:
    """What needs looking at, the worst first, with as much about each as there is room for; a row at least."""
    untold = (result for result in model.results if needs_look(result) and (result.passes or not is_told))
    urgent = rows.groups(sorted(untold, key=urgency))
    totals = _totals(model)
    shown: list[Line] = []
    for depth in _DEPTHS:
        said: set[str] = set()
        blocks = [rows.problem(group, totals[group[0].id], said, depth=depth, encoding=encoding) for group in urgent]
        shown = [line for block in blocks for line in block]
        if len(shown) <= room:
            break
    return shown


def _held(model: ModelRecord, room: int, encoding: str) -> list[Line]:
    """What needs no looking at: a row for each property or, where there is no room, all of them in a paragraph."""
    totals = _totals(model)
    passing = [result for result in model.results if not is_aside(result) and not needs_look(result)]
    described = rows.groups(filter(is_description, passing))
    claimed = rows.groups(sorted((r for r in passing if not is_description(r)), key=urgency))
    held, about = (
        [line for group in results for line in rows.together(group, totals[group[0].id], encoding)]
        for results in (claimed, described)
    )
    has_ladder = any(result.ladder for result in passing)  # which is what was asked for
    if has_ladder or len(held) + len(about) <= room:
        return [*held, *([_DESCRIPTIONS, *about] if about else [])]
    holding = [group for group in claimed if not is_known_exception(group[0])]
    excused = [group for group in claimed if is_known_exception(group[0])]
    return [
        *_in_brief("holds", holding, totals, encoding),
        *_in_brief("known exceptions", excused, totals, encoding),
        *_in_brief("described", described, totals, encoding),
    ]


def _in_brief(name: str, groups: Sequence[Sequence[ResultRecord]], totals: Counter[str], encoding: str) -> list[Line]:
    """Properties with their values or, of several checks, how many share the verdict, as one paragraph."""
    pieces = []
    for group in groups:
        first = group[0]
        value = number(first.estimate.value, ends(first.claims)) if first.estimate else str(first.verdict)
        what = value if totals[first.id] == 1 else f"{len(group)} of {totals[first.id]}"
        pieces.append(f"{safe(first.id, 40, encoding=encoding)} {what}")
    if not pieces:
        return []
    listed = wrap(
        [*(f"{piece}," for piece in pieces[:-1]), pieces[-1]], width=WIDTH, first=f"{name}: ", indent="  ", gap=" "
    )
    return [Line(text, "pass" if name == "holds" else "dim") for text in listed]


def _totals(model: ModelRecord) -> Counter[str]:
    """How many checks each property has that are about the model."""
    return Counter(result.id for result in model.results if not is_aside(result))


def _not_applicable(model: ModelRecord, encoding: str) -> list[Line]:
    """One line, if any: which checks are not about the model, and why, as far as there is room."""
    ids: dict[str, Counter[str]] = {}
    for result in filter(is_aside, model.results):
        ids.setdefault(str(result.reason), Counter())[result.id] += 1
    named = [
        ", ".join(name if n == 1 else f"{name} x{n}" for name, n in names.items()) + f" ({reason})"
        for reason, names in ids.items()
    ]
    text = safe(f"n/a: {'; '.join(named)}", 4 * WIDTH, encoding=encoding)
    if len(text) >= WIDTH:
        brief = ((names.total(), reason.partition(": ")[0]) for reason, names in ids.items())
        text = f"n/a: {', '.join(f'{n} ({reason})' for n, reason in brief)}"
    return [Line(safe(text, WIDTH - 1, encoding=encoding), "dim")] if ids else []
