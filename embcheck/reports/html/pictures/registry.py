"""What a picture gets and gives, and which pictures a measure has."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

from markupsafe import Markup

from embcheck.reports.html import images, vega
from embcheck.reports.text import inert, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from embcheck.checks.record import Json, ResultRecord

EVERY = ""
"""What a picture of any estimate is registered for."""
LADDER = "ladder"
"""What a picture is registered for that stands beside those of the measure."""

_Function = TypeVar("_Function", bound="Callable[..., Iterable[Figure]]")
_EACH: dict[str, list[Callable[[Shown], Iterable[Figure]]]] = defaultdict(list)
_TOGETHER: dict[str, list[Callable[[Sequence[Shown]], Iterable[Figure]]]] = defaultdict(list)
_BARS = 40
_BROKEN = (ArithmeticError, AttributeError, IndexError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Shown:
    """One result, and of the model what a picture may need."""

    alias: str
    index: int
    """The model's place in the report, which gives its colour."""
    shape: tuple[int, int]
    result: ResultRecord
    beside: tuple[Shown, ...] = ()
    """The same check on all models, itself among them, where they are drawn beside each other."""

    @property
    def details(self) -> Json:
        """What the measure kept."""
        return self.result.details

    def among(self, value: Callable[[Json], float]) -> list[float]:
        """A number of the details of each model that has it, so that pictures side by side share their colours."""
        numbers = []
        for entry in self.beside or (self,):
            with suppress(*_BROKEN):
                numbers.append(value(entry.details))
        return numbers

    @property
    def tone(self) -> str:
        """The model's colour."""
        return vega.tone(self.index)

    def figure(
        self, layers: Iterable[vega.Spec], caption: str, *, width: int = vega.WIDTH, height: int = vega.HEIGHT
    ) -> Figure:
        """Layers over each other, under the model's name."""
        return figure(vega.chart(layers, width=width, height=height), self.alias, caption)

    def bars(
        self, values: Mapping[str, object], title: str, caption: str, *, against: Mapping[float, str] | None = None
    ) -> Figure:
        """A bar a name, as they stand, and lines at the numbers to compare with. What has no number is left out."""
        rows: list[vega.Spec] = []
        for name, value in list(values.items())[:_BARS]:
            if isinstance(value, int | float):
                label = vega.token(name)
                rows.append({"y": label, "v": float(value), "tip": f"{label}: {number(value)}"})
        across = vega.x("v", title, scale={"zero": True}, axis={"format": ".3~g"})
        mark = {"type": "bar", "color": self.tone, "height": {"band": 0.65}}
        layers = [vega.layer(mark, rows, x=across, y=vega.named(rows, grid=False))]
        layers += [vega.rule(value, said) for value, said in (against or {}).items()]
        return self.figure(layers, caption, width=220, height=max(40, 18 * len(rows)))


@dataclass(frozen=True)
class Figure:
    """A picture with what is written above and below it."""

    title: str
    caption: str
    content: vega.Spec | Markup
    """The specification of a chart, or what is drawn already."""

    @cached_property
    def body(self) -> Markup:
        """The picture as markup."""
        if isinstance(self.content, Markup):
            return self.content
        return images.draw(self.content, f"{self.title}. {self.caption}")


def picture(*measures: str, together: bool = False) -> Callable[[_Function], _Function]:
    """Register a function as what draws some measures: result by result, or all results of a property together."""

    def register(function: _Function) -> _Function:
        for name in measures:
            (_TOGETHER if together else _EACH)[name].append(function)
        return function

    return register


def figure(specification: vega.Spec, title: str, caption: str) -> Figure:
    """A figure of a Vega-Lite specification."""
    return Figure(title, caption, specification)


def table(title: str, caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Figure:
    """A figure that is a table; the first cell of a row names it."""
    head = Markup().join(Markup('<th scope="col">{}</th>').format(inert(name)) for name in columns)
    body = Markup()
    for name, *cells in rows:
        shown = (number(cell) if isinstance(cell, int | float) else inert(str(cell or "")) for cell in cells)
        columns_of = Markup().join(Markup('<td class="number">{}</td>').format(text) for text in shown)
        body += Markup('<tr><th scope="row">{}</th>{}</tr>').format(vega.token(name, 40), columns_of)
    content = Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{0}"><table class="narrow">'
        '<caption class="unseen">{0}</caption><thead><tr>{1}</tr></thead><tbody>{2}</tbody></table></div>'
    ).format(inert(title), head, body)
    return Figure(title, caption, content)


def draw_each(shown: Shown) -> list[Figure]:
    """The figures of one result; that of every estimate where its measure has none of its own."""
    return draw_beside([shown])


def draw_beside(shown: Sequence[Shown]) -> list[Figure]:
    """The figures of one check on several models: kind by kind, those of one kind on the same axes."""
    shown = [replace(entry, beside=tuple(shown)) for entry in shown]
    measure = _measure_of(shown)
    figures = _beside(_EACH.get(measure, ()), shown)
    if not figures and measure not in _TOGETHER:
        figures = _beside(_EACH[EVERY], shown)
    return figures + _beside(_EACH[LADDER], shown)


def draw_together(shown: Sequence[Shown]) -> list[Figure]:
    """The figures that show all results of a property."""
    return [figure for function in _TOGETHER.get(_measure_of(shown), ()) for figure in _try(function, shown)]


def _measure_of(shown: Sequence[Shown]) -> str:
    return next(filter(None, (entry.result.measure for entry in shown)), EVERY)


def _beside(functions: Iterable[_Function], shown: Sequence[Shown]) -> list[Figure]:
    figures = []
    for function in functions:
        for kind in zip_longest(*(_try(function, entry) for entry in shown)):
            figures += _on_shared_axes([figure for figure in kind if figure is not None])
    return figures


def _on_shared_axes(figures: list[Figure]) -> list[Figure]:
    charts = [figure.content for figure in figures if not isinstance(figure.content, Markup)]
    if not 2 <= len(charts) == len(figures):
        return figures
    shared = vega.share(charts)
    return [replace(figure, content=chart) for figure, chart in zip(figures, shared, strict=True)]


def _try(function: Callable[[Any], Iterable[Figure]], shown: Any) -> list[Figure]:
    """The figures, or none where the details are not what the picture is made of: reports are untrusted."""
    try:
        figures = list(function(shown))
        for figure in figures:
            _ = figure.body
    except _BROKEN:
        return []
    return figures
