"""What ``embcheck compare`` prints: the counts, the drift, then each check, those that need a look first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.reports.comparison import ORDER
from embcheck.reports.terminal.rows import counterexample, paragraph
from embcheck.reports.text import number, quoted, safe, wrap
from embcheck.reports.wording import WIDTH, Line, how_text, moved_most

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from embcheck.checks.record import Change
    from embcheck.reports.comparison import Comparison, Drift, Fates, Token
    from embcheck.reports.terminal import Show
    from embcheck.reports.wording import Style

_INDENT = " " * 14
_MOVED = 5


def lines(comparison: Comparison, encoding: str = "utf-8", *, show: Show = "rows") -> Iterator[Line]:
    """The lines, inert for a terminal of that encoding.

    ``none`` leaves out single checks and rows, ``fail`` all but the checks that fail; ``all`` says how each was found,
    and which of its units moved most.
    """
    first, second = (safe(name, 60, encoding=encoding) for name in comparison.models)
    style: Style = "pass" if comparison.passes else "fail"
    for text in wrap([f"{second} against {first}", comparison.counts], width=WIDTH, indent="  ", gap=" "):
        yield Line(text, style)
    if comparison.likely:
        yield from paragraph(comparison.likely, encoding)
    if comparison.populations:
        words = comparison.populations.split()
        yield from (Line(text, "warn") for text in wrap(words, width=WIDTH, first="  ", indent="  ", gap=" "))
    yield from _drift(comparison.drift, encoding)
    for limit in comparison.limits:
        option, colon, reason = safe(limit.text, 300, encoding=encoding).partition(": ")
        style = "pass" if limit.passes else "fail"
        yield from (
            Line(text, style) for text in wrap([option + colon, reason], width=WIDTH, first="  ", indent="    ", gap="")
        )
    shown = [row for row in comparison.by_urgency if show in {"rows", "all"} or (show == "fail" and not row.passes)]
    if shown:
        yield from (Line(text, "title") for text in wrap([f"checks, {ORDER}"], width=WIDTH, indent="  "))
    for row in shown:
        why = row.change.reason if row.change else row.reason
        says = [text for text in (row.change_text, safe(why or "", 300, encoding=encoding)) if text]
        says += [how_text(row.change)] if row.change and show == "all" else []
        style = "fail" if not row.passes else "pass" if row.change else "plain"
        name = safe(row.check, 300, encoding=encoding)
        word = f"{row.state:<{len(_INDENT)}}"
        yield from (Line(text, style) for text in wrap([name, *says], width=WIDTH, first=word, indent=_INDENT))
        if row.change and show == "all":
            yield from _units(row.change, encoding)
    if show in {"fail", "none"}:
        return
    yield from _tokens_by("rows that moved farthest, in their lengths", comparison.drift.farthest, encoding)
    yield from _tokens_by("rows that turned most, by cosine", comparison.drift.moved, encoding)


def _units(change: Change, encoding: str) -> Iterator[Line]:
    moved, more = moved_most(change, _MOVED)
    if moved:
        named = [*(counterexample(unit, encoding) for unit in moved), *filter(None, [more])]
        yield from map(Line, wrap(named, width=WIDTH, first=f"{_INDENT}moved most: ", indent=f"{_INDENT}  "))


def _drift(drift: Drift, encoding: str) -> Iterator[Line]:
    rows = "" if drift.rows is None else f" of {drift.rows:,} rows that both have, {drift.identical_rows or 0:,} equal"
    yield Line(f"drift{rows}", "title")
    if drift.reason:
        yield from (Line(text) for text in wrap([safe(drift.reason, 300)], width=WIDTH, first="  ", indent="  "))
    statistics = list(drift.statistics())
    width = max((len(name) for name, _ in statistics), default=0)
    for name, value in statistics:
        first = f"  {name:<{width}}  "
        yield from map(Line, wrap(value.split(" "), width=WIDTH, first=first, indent=" " * len(first), gap=" "))
    if drift.tokens:
        yield Line(f"tokens: {drift.tokens.paired:,} paired by their text", "title")
        yield from _fates(drift.tokens, encoding)


_FATES: Mapping[str, tuple[str, Style]] = {
    "died": ("zero or not finite in the second only", "fail"),
    "went": ("of the first only", "warn"),
    "came": ("of the second only", "warn"),
    "moved_id": ("under another id", "warn"),
    "ambiguous": ("left out: several rows have the text, and others in the second", "warn"),
}


def _fates(tokens: Fates, encoding: str) -> Iterator[Line]:
    for name, (said, style) in _FATES.items():
        fate = getattr(tokens, name)
        if fate.rows:
            pieces = [f"{fate.rows:,} {said}:", *(_named(token, encoding) for token in fate.first)]
            pieces += ["..."] if fate.rows > len(fate.first) else []
            yield from (Line(text, style) for text in wrap(pieces, width=WIDTH, first="  ", indent="    "))


def _tokens_by(title: str, tokens: Sequence[Token], encoding: str) -> Iterator[Line]:
    if tokens:
        yield Line(title, "title")
        pieces = [f"{_named(token, encoding)} {number(token.value)}" for token in tokens]
        yield from (Line(text) for text in wrap(pieces, width=WIDTH, first="  ", indent="  "))


def _named(token: Token, encoding: str) -> str:
    new_id = "" if token.new_id is None else f" -> #{token.new_id}"
    return f"{quoted(safe(token.token, 24, encoding=encoding))} #{token.id}{new_id}"
