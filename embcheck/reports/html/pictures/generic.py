"""The pictures that serve every check: its estimate with bounds and nulls, and how far it moved since the baseline."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from embcheck.claims import ends
from embcheck.reports.html import vega
from embcheck.reports.html.details import is_histogram, is_matrix
from embcheck.reports.html.pictures.registry import EVERY, LADDER, figure, picture
from embcheck.reports.html.pictures.words import cells
from embcheck.reports.text import number
from embcheck.reports.wording import RUNGS, bound_text, ladder_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from embcheck.checks.record import Change, Json
    from embcheck.reports.html.pictures.registry import Figure, Shown


@picture(EVERY)
def histograms(shown: Shown) -> Iterator[Figure]:
    """The histograms that the details hold."""
    if shown.result.estimate is None or shown.result.estimate.value is None:
        return
    for key, value in sorted(shown.details.items()):
        if is_histogram(value):
            title = vega.token(key.replace("_", " "), 40)
            yield shown.figure(vega.bars(value, shown.tone, title), f"{title}.")


@picture(EVERY)
def matrices(shown: Shown) -> Iterator[Figure]:
    """The square matrices that the details hold, with the names of a list that is as long."""
    lists = [value for value in shown.details.values() if isinstance(value, list)]
    for key, value in sorted(shown.details.items()):
        if is_matrix(value):
            names = next((each for each in lists if len(each) == len(value) and isinstance(each[0], str)), None)
            labels = names or list(map(str, range(len(value))))
            yield cells(shown, partial(_named_matrix, labels, key), vega.token(key.replace("_", " "), 40))


def _named_matrix(names: Sequence[str], key: str, details: Json) -> tuple[Sequence[str], Any]:
    return names, details[key]


@picture(EVERY)
def estimate(shown: Shown) -> Iterator[Figure]:
    """Interval, bounds and nulls on one axis."""
    result, measured = shown.result, shown.result.estimate
    if measured is None or measured.value is None:
        return
    name = "measured"
    low, high = (measured.value if end is None else end for end in (measured.low, measured.high))
    rows = [{"v": measured.value, "y": name, "tip": f"measured: {number(measured.value)}"}]
    spread = [{"a": low, "b": high, "y": name, "tip": f"interval: {number(low)} to {number(high)}"}]
    nulls = [
        {"v": null.value, "y": vega.token(null.name), "tip": f"{vega.token(null.name)}: {number(null.value)}"}
        for null in result.nulls
        if null.value is not None
    ]
    up = vega.named([*rows, *nulls], grid=False)
    across = vega.x("a", vega.token(measured.name or "value", 60), scale={"padding": 14}, axis={"format": ".3~g"})
    mark = {"type": "rule", "strokeWidth": 4, "color": shown.tone, "opacity": 0.5}
    layers = [
        vega.layer(mark, spread, x=across, x2={"field": "b"}, y=up),
        vega.points(rows, 70, shown.tone, opacity=None, x=vega.x("v"), y=up),
    ]
    if nulls:
        tick = {"type": "tick", "color": "var(--noise)", "thickness": 3}
        layers.append(vega.layer(tick, nulls, x=vega.x("v"), y=up))
    bounds = [claim for claim in result.claims if claim.op != "beats"]
    layers += [vega.rule(float(end), bound_text(claim)) for claim in bounds for end in ends([claim])]
    caption = "The measured value with its interval, its nulls, and the bounds of the claim (dashed)."
    yield shown.figure(layers, caption, height=34 * (1 + len(nulls)))


@picture(LADDER)
def ladder(shown: Shown) -> Iterator[Figure]:
    """The value on each rung, beside the real table's."""
    if (climbed := shown.result.ladder) is None:
        return
    rows = [
        {"a": rung.low, "b": rung.high, "v": rung.value, "y": RUNGS[rung.name], "tip": f"{number(rung.value)}"}
        for rung in climbed.rungs
    ]
    up = vega.named(rows, grid=False)
    across = vega.x("a", vega.token(climbed.scale or "value", 60), scale={"padding": 14}, axis={"format": ".3~g"})
    layers = [
        vega.layer(
            {"type": "rule", "strokeWidth": 4, "color": "var(--noise)"}, rows, x=across, x2={"field": "b"}, y=up
        ),
        vega.points(rows, 55, "var(--noise)", opacity=None, x=vega.x("v"), y=up),
        vega.rule(float(climbed.value), "the real table"),
    ]
    caption = f"What it rests on: {ladder_text(climbed)}. Range of {climbed.draws} draws of {climbed.rows} rows each."
    yield shown.figure(layers, caption, height=24 * len(rows))


# --- changes ----------------------------------------------------------------------------------------------------------


_FAR = 5.0
_TONES = {"match": "var(--noise)", "improved": "var(--s2)", "regressed": "var(--s1)", "undecided": "var(--s4)"}


def moved(title: str, changes: Iterable[tuple[str, Change | None]], *, since: str = "the baseline") -> Iterator[Figure]:
    """The changes of checks, by their labels; none where nothing was compared."""
    rows = sorted(_rows(changes), key=lambda row: -row["size"])
    if not rows:
        return
    span = {"domain": [-_FAR, _FAR], "nice": False}
    up = vega.named(rows, limit=260)
    layers = [
        vega.band("within the margin", f"change since {since}, in margins", scale=span),
        vega.rule(0.0, "no change"),
        vega.layer(
            {"type": "rule", "strokeWidth": 3},
            rows,
            x=vega.x("low", scale=span),
            x2={"field": "high"},
            y=up,
            color=vega.COLOUR,
        ),
        vega.points(rows, 55, x=vega.x("v", scale=span), y=up, shape=vega.SHAPE),
    ]
    caption = (
        "New minus old in units of each check's margin, with its interval; inside the band nothing has changed. "
        f"An arrow: it moved by more than {_FAR:.0f} margins."
    )
    yield figure(vega.chart(layers, width=230, height=20 * len(rows)), title, caption)


def _rows(changes: Iterable[tuple[str, Change | None]]) -> Iterator[vega.Spec]:
    """A row for each check that was compared."""
    for label, change in changes:
        if change is None or change.value is None or not change.margin:
            continue
        low, value, high = (
            float(change.value if end is None else end) / change.margin
            for end in (change.low, change.value, change.high)
        )
        said = f"{label}: {change.state}, from {number(change.before)} to {number(change.after)}"
        yield {
            "y": vega.token(label, 40),
            "size": abs(value),
            "low": vega.clipped(low, _FAR)["v"],
            "high": vega.clipped(high, _FAR)["v"],
            **vega.clipped(value, _FAR),
            "colour": _TONES.get(change.state, "var(--noise)"),
            "tip": vega.token(said, 120),
        }
