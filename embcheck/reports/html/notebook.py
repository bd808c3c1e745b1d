"""What a notebook shows of an estimate, a result and a run: the page's rows and pictures in a fragment of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from markupsafe import Markup

from embcheck.checks.record import ResultRecord, estimate_record, plain
from embcheck.claims import Verdict
from embcheck.errors import UsageError
from embcheck.reports.diagnosis import Diagnosis
from embcheck.reports.html import asset, drawing, palettes
from embcheck.reports.html.page import environment
from embcheck.reports.html.rows import axis_of, describe
from embcheck.reports.text import number
from embcheck.reports.wording import beside, conclusion, urgency

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from embcheck.checks.check import Result
    from embcheck.checks.picture import Picture
    from embcheck.checks.record import Report
    from embcheck.estimate import Estimate
    from embcheck.reports.comparison import Comparison
    from embcheck.reports.html.rows import Row

    class HasReport(Protocol):
        """A run."""

        @property
        def report(self) -> Report:
            """What it found."""

        @property
        def results(self) -> tuple[Result, ...]:
            """One for each model and check."""


_DRAWN = 6  # results of a run that are drawn at once; the page of a larger one is run.save_html
_AT_ONCE = 12  # rows of a run that are shown at once; of a larger one those that fail, the others folded
_SCOPE = ".embcheck:not(#a#a)"  # as strong as two ids: what a notebook's own style says of tables and svg yields to it
_DARK = (
    '[data-jp-theme-light="false"]',  # JupyterLab, Notebook 7, nbconvert
    ".vscode-dark",
    ".vscode-high-contrast:not(.vscode-high-contrast-light)",
    '[theme="dark"]',  # Colab
    '[data-theme="dark"]',  # Sphinx's themes
    '[data-md-color-scheme="slate"]',  # MkDocs
    '[data-bs-theme="dark"]',  # Quarto
)
"""How a page says that it is dark. What the system prefers says nothing of a notebook; without a mark it is light."""


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
    return _fragment([describe(record, axis_of([record]))], caption=value.method, is_claimed=False)


def result(value: Result) -> str:
    """The row of a result, what weighs against its claim, and its pictures."""
    record = value.record
    row = describe(record, axis_of([record]), alias=value.model)
    notes = beside(record, with_claim=False) if row.range else []  # else the row has the reason
    return _fragment([row], caption=record.sentence, notes=notes, figures=_drawn([value]))


def picture(value: Picture) -> str:
    """One picture by itself."""
    return _fragment([], figures=[value])


def run(value: HasReport) -> str:
    """A row a result, worst first, on an axis that those of one property share; with pictures where it holds few."""
    report = value.report
    ids = {result.id for result in report.results}
    axes = {name: axis_of(result for result in report.results if result.id == name) for name in ids}
    rows = [
        describe(result, axes[result.id], alias=model.alias, model=index)
        for index, model in enumerate(report.models)
        for result in model.results
    ]
    rows.sort(key=lambda row: urgency(row.result))
    about = {"models": len(report.models), "caption": conclusion(report.models).text}
    if len(rows) <= _AT_ONCE:
        return _fragment(rows, **about, figures=_drawn(value.results) if len(rows) <= _DRAWN else ())
    passing = [row for row in rows if row.result.passes]
    folded = {
        "passed": [row for row in passing if row.range],
        "not measured": [row for row in passing if not row.range],
    }
    return _fragment([row for row in rows if not row.result.passes], **about, folded=folded)


def document(value: Comparison | Diagnosis) -> str:
    """A comparison's checks that are no match, or a diagnosis's causes, as a table, with what there is beside them."""
    if isinstance(value, Diagnosis):
        left = f"{number(value.residual)} of the rows' spread is left over, in the median"
        return _fragment(
            [],
            caption=f"{value.candidate} against {value.reference}: {value.verdict}",
            columns=("cause", "what happened", "evidence", "what now"),
            entries=[(cause.cause, cause.sentence, cause.evidence, cause.remedy) for cause in value.causes],
            notes=[*filter(None, [value.abstained]), left],
        )
    moved = [row for row in value.by_urgency if row.state != "match"]
    still = len(value.changes) - len(moved)
    notes = [value.likely, value.populations, *(limit.text for limit in value.limits)]
    drift = "; ".join(f"{name} {said}" for name, said in value.drift.statistics())
    return _fragment(
        [],
        caption=f"{value.models[1]} against {value.models[0]} {value.counts}",
        columns=("check", "state", "change"),
        entries=[(row.check, row.state, row.said) for row in moved],
        notes=[*filter(None, [*notes, drift]), *([f"{still} did not change"] if still else [])],
    )


def _fragment(rows: Sequence[Row], **about: Any) -> str:
    """The rows that are shown at once, others that are folded by their title, and figures, in a style of their own."""
    light, dark = (
        "".join(f"--{name}: {colour}; " for name, colour in palettes()[theme].items()) for theme in ("light", "dark")
    )
    rules = asset("plots.css") + asset("notebook.css")
    style = (
        f"{_SCOPE} {{ color-scheme: light; {light}\n{rules}}}\n"
        f":is({', '.join(_DARK)}) {_SCOPE} {{ color-scheme: dark; {dark}}}\n"
    )
    shown = [row for each in (rows, *about.get("folded", {}).values()) for row in each]
    levels = {e.confidence_level for row in shown if (e := row.result.estimate) is not None and not e.exact}
    level = f"{number(100 * levels.pop())}% interval" if len(levels) == 1 else "interval"
    none: dict[str, Any] = dict.fromkeys(("columns", "entries", "figures", "notes"), ())
    values = none | {"caption": "", "models": 1, "is_claimed": True, "folded": {}} | about
    fragment = environment().get_template("notebook.html.jinja")
    return fragment.render(style=Markup(style), rows=rows, level=level, **values)  # noqa: S704 - shipped with the package


def _drawn(results: Iterable[Result]) -> list[Picture]:
    """The results' own pictures; none where the library that draws is not installed."""
    try:
        return [picture for result in results for picture in drawing.drawn(result)]
    except UsageError:
        return []
