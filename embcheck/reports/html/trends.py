"""A sweep as a page: each check over steps, training runs over each other, and where each first failed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from embcheck.reports.html import page
from embcheck.reports.html.draw import vega
from embcheck.reports.html.pictures import figure
from embcheck.reports.series import changes, failures, series
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from embcheck.reports.html.pictures import Figure
    from embcheck.reports.series import Failure, Point, Series

__all__ = ["render"]

WIDTH, HEIGHT = 620, 240


def render(rows: Sequence[Mapping[str, Any]]) -> str:
    """The page of a sweep's rows.

    Raises
    ------
    UsageError
        The library that draws is not installed.
    """
    found = series(rows)
    models = sorted({one.model for one in found})
    first = {(one.label, one.model): one for one in failures(found)}
    sections = []
    for label in dict.fromkeys(one.label for one in found):
        group = [one for one in found if one.label == label]
        outcomes = [_outcome(one, first.get((label, one.model))) for one in group]
        sections.append(
            {
                "label": label,
                "anchor": re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-"),
                "sentence": group[0].sentence,
                "outcomes": outcomes,
                "figures": tuple(_pictures(group, models)),
            }
        )
    steps = sorted({point.step for one in found for point in one.points})
    return page.filled("trends.html.jinja", sections=sections, models=models, results=len(rows), steps=steps)


def _outcome(one: Series, failure: Failure | None) -> dict[str, Any]:
    point = one.points[-1] if failure is None else failure.point
    estimate = ""
    if point.value is not None and point.low is not None and point.high is not None:
        exact = point.low == point.high
        estimate = number(point.value) + ("" if exact else f" ({number(point.low)} to {number(point.high)})")
    return {
        "model": one.model,
        "word": "fails" if failure else "skipped" if point.verdict == "skipped" else "passes",
        "passed": failure is None,
        "steps": f"{one.points[0].step} to {one.points[-1].step}",
        "first": None if failure is None else failure.point.step,
        "before": None if failure is None else failure.before,
        "verdict": point.verdict,
        "estimate": estimate or (point.reason or ""),
        "changes": ", ".join(str(step) for step in changes(one)) or "none",
    }


def _pictures(group: Sequence[Series], models: Sequence[str]) -> Iterator[Figure]:
    rows = [_mark(one, point, models.index(one.model)) for one in group for point in one.points if _drawn(point)]
    if not rows:
        return
    name = group[0].estimate or group[0].label
    colour = {"field": "colour", "type": "nominal", "scale": None}
    across = vega.x("step", "step", axis={"format": "~s"})
    layers = [
        vega.layer(
            {"type": "area", "opacity": 0.2}, rows, x=across, y=vega.y("low", name), y2={"field": "high"}, color=colour
        ),
        vega.layer({"type": "line", "strokeWidth": 1.5}, rows, x=across, y=vega.y("value", name), color=colour),
        vega.layer(
            {"type": "point", "filled": True, "size": 60, "opacity": 1},
            rows,
            x=across,
            y=vega.y("value", name),
            color=colour,
            shape={"field": "shape", "type": "nominal", "scale": None},
        ),
        *(vega.rule(bound, f"claimed: {said}", axis="y") for bound, said in _bounds(group[0])),
        *(
            vega.rule(step, f"{one.model} changed at step {step}", colour=vega.tone(models.index(one.model)))
            for one in group
            for step in changes(one)
        ),
    ]
    caption = (
        f"{name} by step, with its interval; a cross where the check does not pass. "
        "Dashed across: the bound that is claimed; dashed upright: where it changed."
    )
    yield figure(vega.chart(layers, width=WIDTH, height=HEIGHT), group[0].label, caption)


def _drawn(point: Point) -> bool:
    return point.value is not None and point.low is not None and point.high is not None


def _mark(one: Series, point: Point, index: int) -> dict[str, Any]:
    said = f"{one.model}, step {point.step}: {number(point.value)}, {point.verdict}"
    return {
        "step": point.step,
        "value": point.value,
        "low": point.low,
        "high": point.high,
        "colour": vega.tone(index),
        "shape": "circle" if point.passed else "cross",
        "tip": vega.token(said, 120),
    }


def _bounds(one: Series) -> Iterator[tuple[float, str]]:
    for claim in json.loads(one.claims):
        if claim["op"] in {"above", "below"} and claim["null"] is None:
            yield float(claim["bound"]), f"{claim['op']} {number(claim['bound'])}"
        elif claim["op"] == "within" and claim["null"] is None:
            yield from ((float(claim[end]), f"{end} end") for end in ("low", "high"))
