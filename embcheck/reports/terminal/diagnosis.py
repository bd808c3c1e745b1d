"""What ``embcheck diagnose`` prints: the cause, the evidence in numbers, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.reports.text import number, safe, wrap
from embcheck.reports.wording import WIDTH, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embcheck.reports.diagnosis import Diagnosis
    from embcheck.reports.wording import Style


def lines(diagnosis: Diagnosis, encoding: str = "utf-8") -> Iterator[Line]:
    """The lines, inert for a terminal of that encoding."""
    reference, candidate = (safe(name, 60, encoding=encoding) for name in (diagnosis.reference, diagnosis.candidate))
    style: Style = "pass" if diagnosis.is_harmless() else "fail"
    yield from (Line(text, style) for text in _wrapped("", f"{candidate} against {reference}: {diagnosis.verdict}"))
    for cause in diagnosis.causes:
        yield from map(Line, _wrapped("  cause     ", safe(f"{cause.cause}: {cause.sentence}", 600, encoding=encoding)))
        yield from map(Line, _wrapped("  evidence  ", safe(cause.evidence, 600, encoding=encoding)))
        yield from map(Line, _wrapped("  what now  ", safe(cause.remedy, 400, encoding=encoding)))
    if diagnosis.abstained:
        yield from map(Line, _wrapped("  why       ", safe(diagnosis.abstained, 600, encoding=encoding)))
    left = f"{number(diagnosis.residual)} of the rows' spread, in the median"
    yield from (Line(text, "dim") for text in _wrapped("  left over ", left))
    if diagnosis.runner_up:
        yield from (Line(text, "dim") for text in _wrapped("  next best ", safe(diagnosis.runner_up, 400)))


def _wrapped(first: str, text: str) -> list[str]:
    return wrap(text.split(), width=WIDTH, first=first, indent=" " * (len(first) or 2), gap=" ")
