"""What a notebook shows of an estimate, a result and a run: the page's rows and pictures in a fragment of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from markupsafe import Markup

from embcheck.checks.record import ResultRecord, estimate_record, plain
from embcheck.claims import Verdict
from embcheck.errors import UsageError
from embcheck.reports.html import asset, images, pictures
from embcheck.reports.html.page import environment
from embcheck.reports.html.rows import axis_of, describe
from embcheck.reports.wording import counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from embcheck.checks.check import Result
    from embcheck.checks.record import Report
    from embcheck.estimate import Estimate
    from embcheck.reports.html.pictures import Figure
    from embcheck.reports.html.rows import Row

    class HasReport(Protocol):
        """A run."""

        @property
        def report(self) -> Report:
            """What it found."""


_DRAWN = 6  # results of a run that are drawn at once; the page of a larger one is run.save_html


def estimate(value: Estimate) -> str:
    """A table of one row: value, interval, and what they rest on."""
    record = ResultRecord(
        id=value.name or "estimate",
        version=1,
        params={},
        sentence="",
        outcome="pass",
        verdict=Verdict.HOLDS,
        claims=(),
        estimate=estimate_record(value),
        nulls=(),
        control=None,
        change=None,
        details={},
        counterexamples=tuple(plain(value.counterexamples)),
        reason=value.reason,
    )
    row = replace(describe(record, axis_of([record])), verdict="")  # nothing is claimed of it
    return _fragment([row], caption=value.method)


def result(value: Result) -> str:
    """The row of a result, and what weighs against its claim."""
    record = value.record
    return _fragment([describe(record, axis_of([record]))], caption=record.sentence)


def run(value: HasReport) -> str:
    """A row a result, on an axis that those of one property share; with pictures where it holds few."""
    report = value.report
    figures = list(_pictures(report)) if len(report.results) <= _DRAWN else []
    ids = {result.id for result in report.results}
    axes = {name: axis_of(result for result in report.results if result.id == name) for name in ids}
    rows = [
        describe(result, axes[result.id], alias=model.alias, model=index)
        for index, model in enumerate(report.models)
        for result in model.results
    ]
    return _fragment(rows, models=len(report.models), caption=counts(report.results).text, figures=figures)


def _fragment(rows: Sequence[Row], *, models: int = 1, caption: str, figures: Iterable[Figure] = ()) -> str:
    style = asset("palette.css").replace(":root", ".embcheck") + asset("plots.css") + asset("notebook.css")
    about = {"caption": caption, "models": models, "rows": rows, "figures": figures}
    fragment = environment().get_template("notebook.html.jinja")
    return fragment.render(style=Markup(style), **about)  # noqa: S704 - shipped with the package


def _pictures(report: Report) -> Iterator[Figure]:
    """The results' own pictures; none where the library that draws is not installed."""
    try:
        images.need_library()
    except UsageError:
        return
    for index, model in enumerate(report.models):
        if model.shape is not None:
            for result in model.results:
                yield from pictures.draw_each(pictures.Shown(model.alias, index, model.shape, result))
