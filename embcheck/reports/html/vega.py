"""Parts of Vega-Lite specifications that the pictures share. Colours are the page's: light and dark follow by CSS."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from embcheck.reports.html import asset
from embcheck.reports.text import cut, inert, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from embcheck.checks.record import Json

Spec = dict[str, Any]
"""A specification, a part of one, or a row of the data inside it."""

WIDTH, HEIGHT = 300, 190
COLOUR: Spec = {"field": "colour", "type": "nominal", "scale": None}
SHAPE: Spec = {"field": "shape", "type": "nominal", "scale": None}
"""The channels of marks whose rows say their own colour, or shape."""
SPACE, BLANK = "\u2423", "(empty)"
_SHOWN = 22
_CHARACTER = 6.2  # width of a character of a label, in pixels, on the large side
_LINE = 12
_CONFIG: Spec = json.loads(asset("vega.json"))


def tone(index: int) -> str:
    """The colour of a series: eight that the colour-blind can tell apart, then again."""
    return f"var(--s{index % 8})"


def token(text: object, width: int = _SHOWN) -> str:
    """A token as a label: one line, inert, short, with the spaces at its ends visible."""
    shown = str(text)[: 8 * width]
    begin, end = len(shown) - len(shown.lstrip(" ")), len(shown.rstrip(" "))
    marked = SPACE * begin + shown[begin:end] + SPACE * (len(shown) - max(begin, end))
    return cut(inert(marked), width) or BLANK


def chart(layers: Iterable[Spec], *, width: int = WIDTH, height: int = HEIGHT) -> Spec:
    """Layers over each other, with the page's style."""
    return {"width": width, "height": height, "layer": list(layers), "config": _CONFIG}


def layer(mark: str | Spec, rows: Sequence[Spec], **encoding: Any) -> Spec:
    """One layer. Rows with a field ``tip`` say it on hover."""
    if any("tip" in row for row in rows):
        encoding["description"] = {"field": "tip", "type": "nominal"}
    return {"mark": mark, "data": {"values": list(rows)}, "encoding": encoding}


def x(field: str, title: str | None = None, *, kind: str = "quantitative", **more: Any) -> Spec:
    """A channel for numbers, not forced to begin at zero."""
    scale = {"zero": False, "nice": True} | more.pop("scale", {})
    axis = more.pop("axis", {})
    if axis is not None:
        axis = {"tickCount": 5, "grid": kind == "quantitative"} | axis
    return {"field": field, "type": kind, "title": title, "scale": scale, "axis": axis, **more}


y = x


def own(field: str, title: str | None = None, **more: Any) -> Spec:
    """A channel like ``x`` in a unit of the matrix's own: charts side by side do not share it."""
    return x(field, title, **more) | {"own": True}


def named(rows: Sequence[Spec], *, grid: bool | None = None, limit: int | None = None) -> Spec:
    """The upright channel of rows that bear their name in ``y``, from top to bottom as they stand."""
    axis = {key: value for key, value in (("grid", grid), ("labelLimit", limit)) if value is not None}
    return y("y", kind="nominal", scale={}, sort=[row["y"] for row in rows], axis=axis)


def points(
    rows: Sequence[Spec], size: int, colour: str | None = None, /, *, opacity: float | None = 1, **encoding: Any
) -> Spec:
    """Filled points, of one colour or of those that the rows say themselves."""
    mark: Spec = {"type": "point", "filled": True, "size": size}
    mark |= {} if opacity is None else {"opacity": opacity}
    if colour is None:
        return layer(mark, rows, **{"color": COLOUR} | encoding)
    return layer(mark | {"color": colour}, rows, **encoding)


def text(rows: Sequence[Spec], style: Spec, field: str = "label", /, **encoding: Any) -> Spec:
    """What the rows say in a field."""
    return layer({"type": "text"} | style, rows, text={"field": field, "type": "nominal"}, **encoding)


def band(
    said: str = "",
    title: str | None = None,
    *,
    ends: tuple[float, float] = (-1, 1),
    opacity: float = 0.25,
    **channel: Any,
) -> Spec:
    """A shaded stretch that runs from the bottom to the top."""
    row: Spec = {"a": ends[0], "b": ends[1]} | ({"tip": said} if said else {})
    mark = {"type": "rect", "color": "var(--noise)", "opacity": opacity}
    return layer(mark, [row], x=x("a", title, **channel), x2={"field": "b"})


def rule(value: float, said: str, *, colour: str = "var(--bound)", axis: str = "x") -> Spec:
    """A line across the picture at a value."""
    mark = {"type": "rule", "color": colour, "strokeWidth": 1.5, "strokeDash": [4, 3]}
    return layer(mark, [{"v": value, "tip": said}], **{axis: {"field": "v", "type": "quantitative"}})


def clipped(value: float, far: float) -> Spec:
    """A number no further from zero than ``far``, and the shape of its mark: an arrow where it lies beyond."""
    shape = "circle" if abs(value) <= far else "triangle-right" if value > 0 else "triangle-left"
    return {"v": max(-far, min(far, value)), "shape": shape}


def bars(histogram: Json, colour: str, title: str, what: str = "share of them", *, is_own: bool = False) -> list[Spec]:
    """The bars of a histogram of ``details``, as shares of all counted; ``is_own`` in a unit of the matrix's own."""
    counts = [int(count) for count in histogram["counts"]]
    low, high = float(histogram["low"]), float(histogram["high"])
    total, width = sum(counts) + int(histogram.get("below", 0)) + int(histogram.get("above", 0)), len(counts)
    edges = [low + (high - low) * i / width for i in range(width + 1)]
    rows = [
        {
            "a": edges[i],
            "b": edges[i + 1],
            "share": count / total,
            "tip": f"{number(edges[i])} to {number(edges[i + 1])}: {100 * count / total:.2g}%",
        }
        for i, count in enumerate(counts)
    ]
    mark = {"type": "rect", "color": colour, "opacity": 0.75}
    up = y("share", what, axis={"format": "~%", "tickCount": 4}, scale={"zero": True})
    return [layer(mark, rows, x=(own if is_own else x)("a", title), x2={"field": "b"}, y=up, y2={"datum": 0})]


def noise_curve(histogram: Json, mean: float, sd: float, said: str) -> Spec:
    """The normal density with that mean and spread, as shares of the histogram's bins."""
    low, high, width = float(histogram["low"]), float(histogram["high"]), len(histogram["counts"])
    step = (high - low) / width
    reach = [mean + sd * (i / 15 - 4) for i in range(121)]
    rows = [
        {
            "v": v,
            "share": step * math.exp(-(((v - mean) / sd) ** 2) / 2) / (sd * math.sqrt(2 * math.pi)),
            "tip": said,
        }
        for v in reach
    ]
    mark = {"type": "line", "color": "var(--noise)", "strokeWidth": 2, "strokeDash": [2, 2]}
    return layer(mark, rows, x={"field": "v", "type": "quantitative"}, y={"field": "share", "type": "quantitative"})


def labels(
    rows: Sequence[Spec],
    *,
    across: tuple[float, float],
    up: tuple[float, float],
    size: tuple[int, int],
    line: float | None = None,
) -> list[Spec]:
    """Text beside points, left out where it would lie over another label, a point or the edge.

    The rows are points with ``x``, ``y`` and ``label``, the most important first; ``across`` and ``up`` are the ends of
    either axis, ``size`` is the picture's in pixels; at ``line`` a line runs across the picture.
    """
    places = [
        (
            (float(row["x"]) - across[0]) / (across[1] - across[0]) * size[0],
            (up[1] - float(row["y"])) / (up[1] - up[0]) * size[1],
        )
        for row in rows
    ]
    taken = [(px - 3, py - 3, px + 3, py + 3) for px, py in places]
    if line is not None:
        level = (up[1] - line) / (up[1] - up[0]) * size[1]
        taken.append((0, level - 1, size[0], level + 1))
    texts: list[Spec] = []
    for row, (px, py) in zip(rows, places, strict=True):
        if not row["label"]:
            continue  # a point that is only to be kept clear of
        wide = len(row["label"]) * _CHARACTER
        for align, dx, dy, left in (
            ("left", 6, 0, px + 6),
            ("right", -6, 0, px - 6 - wide),
            ("center", 0, -10, px - wide / 2),
            ("center", 0, 11, px - wide / 2),
        ):
            box = (left, py + dy - _LINE / 2, left + wide, py + dy + _LINE / 2)
            inside = box[0] >= 0 and box[2] <= size[0] and box[1] >= -4 and box[3] <= size[1] + 4
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                at = {key: {"field": key, "type": "quantitative"} for key in ("x", "y")}
                style = {"align": align, "dx": dx, "dy": dy, "baseline": "middle"}
                texts.append(text([{key: row[key] for key in ("x", "y", "label")}], style, **at))
                break
    return texts


# --- on the same axes -------------------------------------------------------------------------------------------------


_SHARED = {"x": "x", "x2": "x", "y": "y", "y2": "y", "opacity": "opacity"}


def share(charts: Sequence[Spec]) -> list[Spec]:
    """Charts of one kind with scales that hold the numbers of all, except where a channel is in a unit of its own."""
    charts = [json.loads(json.dumps(chart)) for chart in charts]
    views = [chart.get("vconcat", [chart]) for chart in charts]
    for alike in zip(*views, strict=True):
        layers = [layer for view in alike for layer in view.get("layer", [view])]
        for axis in ("x", "y", "opacity"):
            _share_axis(axis, layers)
    return charts


def _share_axis(axis: str, layers: Sequence[Spec]) -> None:
    """Give one scale of some layers the domain that holds the numbers of all of them."""
    channels = [
        (layer, layer["encoding"][name])
        for layer in layers
        for name in _SHARED
        if _SHARED[name] == axis and name in layer["encoding"]
    ]
    placed = [channel for _, channel in channels if "type" in channel]
    if not placed or any(channel.get("own") or channel["type"] != "quantitative" for channel in placed):
        return
    numbers = [number for layer, channel in channels for number in _numbers_of(layer, channel)]
    if any(channel.get("scale", {}).get("type") == "log" for channel in placed):
        numbers = [number for number in numbers if number > 0]
    if not numbers:
        return
    for channel in placed:
        scale = channel.get("scale") or {}
        if scale.get("zero"):
            numbers.append(0.0)
    for channel in placed:
        scale = {
            key: value for key, value in (channel.get("scale") or {}).items() if key not in {"domainMin", "domainMax"}
        }
        channel["scale"] = scale | {"domain": [min(numbers), max(numbers)]}


def _numbers_of(layer: Spec, channel: Spec) -> list[float]:
    """What a channel of a layer must hold: the ends it is given, or its rows' numbers."""
    scale = channel.get("scale") or {}
    if "domain" in scale:
        return [float(end) for end in scale["domain"]]
    ends = [float(scale[end]) for end in ("domainMin", "domainMax") if end in scale]
    rows = layer["data"]["values"] if "field" in channel else ()
    return ends + [float(row[channel["field"]]) for row in rows if row.get(channel["field"]) is not None]


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
