"""What a notebook shows of an estimate, a result and a run: the page's rows and pictures in a fragment of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from markupsafe import Markup

from embcheck.checks.record import estimate_record, plain
from embcheck.errors import UsageError
from embcheck.reports.html import pictures, view
from embcheck.reports.html.draw import svg
from embcheck.reports.html.page import asset, environment
from embcheck.reports.html.ranges import axis_of
from embcheck.reports.terminal import counts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from embcheck.checks.evaluate import Result
    from embcheck.estimate import Estimate
    from embcheck.reports.html.pictures import Figure

    class HasDocument(Protocol):
        """A run."""

        @property
        def document(self) -> Mapping[str, Any]:
            """Its report."""


__all__ = ["estimate", "result", "run"]

_DRAWN = 6  # results of a run that are drawn at once; the page of a larger one is run.save_html


def estimate(value: Estimate) -> str:
    """A table of one row: value, interval, and what they rest on."""
    record = {
        "property": value.name or "estimate",
        "params": {},
        "verdict": "",
        "outcome": "pass",
        "claims": [],
        "estimate": plain(estimate_record(value)),
        "nulls": [],
        "control": None,
        "change": None,
        "details": {},
        "counterexamples": plain(value.counterexamples),
        "reason": value.reason,
    }
    return _fragment([_model([record])], caption=record["estimate"]["method"])


def result(value: Result) -> str:
    """The row of a result, and what weighs against its claim."""
    record = value.record
    return _fragment([_model([record])], caption=record["sentence"])


def run(value: HasDocument) -> str:
    """A row a result; with pictures where it holds few."""
    models = value.document["models"]
    results = [one for model in models for one in model["results"]]
    figures = _pictures(models) if len(results) <= _DRAWN else []
    return _fragment(models, caption=counts(results).text, figures=figures)


def _model(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Results that say nothing of their model."""
    return {"alias": "", "spec": "memory", "shape": None, "population": None, "results": results}


def _fragment(models: Sequence[Mapping[str, Any]], *, caption: str, figures: Sequence[Figure] = ()) -> str:
    document = {"run": {"seed": 0}, "models": models}
    by_property: dict[str, list[Mapping[str, Any]]] = {}
    for model in models:
        for one in model["results"]:
            by_property.setdefault(one["property"], []).append(one)
    axes = {name: axis_of(found) for name, found in by_property.items()}
    rows = [
        view.row(document, index, one, axes[one["property"]])
        for index, model in enumerate(models)
        for one in model["results"]
    ]
    style = asset("palette.css").replace(":root", ".embcheck") + asset("plots.css") + asset("notebook.css")
    template = environment().get_template("notebook.html.jinja")
    return template.render(
        style=Markup(style),  # noqa: S704 - shipped with the package
        caption=caption,
        models=models,
        rows=rows,
        figures=figures,
    )


def _pictures(models: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """The results' own pictures; none where the library that draws is not installed."""
    try:
        svg.need_library()
    except UsageError:
        return []
    return [
        drawn
        for index, model in enumerate(models)
        if model["shape"] is not None
        for one in model["results"]
        for drawn in pictures.drawn_each(pictures.Shown(model["alias"], index, tuple(model["shape"]), one))
    ]
