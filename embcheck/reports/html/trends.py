"""A sweep as a page: each check over steps, training runs over each other, and where each first failed."""

from __future__ import annotations

import json
import re
from itertools import groupby
from typing import TYPE_CHECKING

from embcheck.reports.html import page, vega
from embcheck.reports.html.pictures.registry import figure
from embcheck.reports.series import changes, failure, series
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from embcheck.checks.record import Json
    from embcheck.reports.html.pictures import Figure
    from embcheck.reports.series import Point, Series

WIDTH, HEIGHT = 620, 240


def render(rows: Sequence[Json]) -> str:
    """The page of a sweep's rows."""
    lines = series(rows)
    models = sorted({line.model for line in lines})
    checks = {label: tuple(group) for label, group in groupby(lines, key=lambda line: line.label)}
    return page.fill(
        "trends.html.jinja",
        checks=checks,
        anchor=lambda label: re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-"),
        models=models,
        results=len(rows),
        steps={point.step for line in lines for point in line.points},
        failure=failure,
        changes=changes,
        estimate=_estimate,
        figures={label: tuple(_pictures(group, models)) for label, group in checks.items()},
    )


def _estimate(point: Point) -> str:
    """The estimate of a checkpoint, or why there is none."""
    if not point.is_measured:
        return point.reason or ""
    ends = "" if point.low == point.high else f" ({number(point.low)} to {number(point.high)})"
    return number(point.value) + ends


def _pictures(group: Sequence[Series], models: Sequence[str]) -> Iterator[Figure]:
    rows = [
        _mark(line, point, models.index(line.model)) for line in group for point in line.points if point.is_measured
    ]
    if not rows:
        return
    name = group[0].estimate or group[0].label
    across, up = vega.x("step", "step", axis={"format": "~s"}), vega.y("value", name)
    area: vega.Spec = {"type": "area", "opacity": 0.2}
    layers = [
        vega.layer(area, rows, x=across, y=vega.y("low", name), y2={"field": "high"}, color=vega.COLOUR),
        vega.layer({"type": "line", "strokeWidth": 1.5}, rows, x=across, y=up, color=vega.COLOUR),
        vega.points(rows, 60, x=across, y=up, shape=vega.SHAPE),
        *(vega.rule(bound, f"claimed: {said}", axis="y") for bound, said in _bounds(group[0])),
        *(
            vega.rule(step, f"{line.model} changed at step {step}", colour=vega.tone(models.index(line.model)))
            for line in group
            for step in changes(line)
        ),
    ]
    caption = (
        f"{name} by step, with its interval; a cross where the check does not pass. "
        "Dashed across: the bound that is claimed; dashed upright: where it changed."
    )
    yield figure(vega.chart(layers, width=WIDTH, height=HEIGHT), group[0].label, caption)


def _mark(line: Series, point: Point, index: int) -> vega.Spec:
    said = f"{line.model}, step {point.step}: {number(point.value)}, {point.verdict}"
    return {
        "step": point.step,
        "value": point.value,
        "low": point.low,
        "high": point.high,
        "colour": vega.tone(index),
        "shape": "circle" if point.passed else "cross",
        "tip": vega.token(said, 120),
    }


def _bounds(line: Series) -> Iterator[tuple[float, str]]:
    for claim in json.loads(line.claims):
        if claim["op"] in {"above", "below"} and claim["null"] is None:
            yield float(claim["bound"]), f"{claim['op']} {number(claim['bound'])}"
        elif claim["op"] == "within" and claim["null"] is None:
            yield from ((float(claim[end]), f"{end} end") for end in ("low", "high"))
