"""Several models side by side: a row for each property, a column for each model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.claims import ends
from embcheck.reports.text import columns, cut, number, safe
from embcheck.reports.wording import WIDTH, Line, failure, is_aside, is_description, verdict_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from embcheck.checks.record import ModelRecord, ResultRecord
    from embcheck.reports.wording import Style

_NAME = 30
_GAP = 2
_WIDE, _NARROW = 14, 8  # columns of a cell: with the value and the verdict, or with one of them


def lines(models: Sequence[ModelRecord], encoding: str) -> list[Line]:
    """The table, in blocks of as many models as fit side by side."""
    width = _WIDE if len(models) <= (WIDTH - _NAME) // (_WIDE + _GAP) else _NARROW
    most = (WIDTH - _NAME) // (width + _GAP)
    shown: list[Line] = []
    for start in range(0, len(models), most):
        shown += [*([Line("")] if shown else []), *_block(models[start : start + most], width, encoding)]
    return shown


def _block(models: Sequence[ModelRecord], width: int, encoding: str) -> Iterator[Line]:
    names = [safe(model.alias, width, encoding=encoding) for model in models]
    yield Line(_joined("", names, width), "title")
    for name in sorted({result.id for model in models for result in model.results}):
        own = [[result for result in model.results if result.id == name] for model in models]
        measured = [[result for result in results if not is_aside(result)] for results in own]
        if any(measured):
            cells = [_cell(results, is_narrow=width == _NARROW) for results in measured]
            yield Line(_joined(safe(name, _NAME - _GAP, encoding=encoding), cells, width), _style(measured))


def _joined(name: str, cells: Sequence[str], width: int) -> str:
    padded = [" " * (width - columns(cell)) + cell for cell in (cut(cell, width) for cell in cells)]
    return (name + " " * (_NAME - _GAP - columns(name)) + "".join(" " * _GAP + cell for cell in padded)).rstrip()


def _cell(results: Sequence[ResultRecord], *, is_narrow: bool) -> str:
    """The value where a property's only check holds, and the verdict where it does not; of several how many hold."""
    if not results:
        return "-"
    if len(results) > 1:
        return f"{sum(result.passes and result.verdict == 'holds' for result in results)} of {len(results)}"
    (result,) = results
    if result.estimate and result.passes and (result.verdict == "holds" or is_description(result)):
        return number(result.estimate.value, ends(result.claims))
    kind = failure(result) or verdict_word(result)
    verdict = {"inconclusive": "open", "exception": "holds", "not_applicable": "n/a"}.get(kind, kind)
    shown = verdict if result.passes else verdict.upper()
    estimate = result.estimate
    value = None if estimate is None or is_narrow else estimate.value
    return shown if value is None else f"{shown} {value:.2g}"


def _style(row: Sequence[Sequence[ResultRecord]]) -> Style:
    return "pass" if all(result.passes for results in row for result in results) else "fail"
