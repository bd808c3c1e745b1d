"""What a picture gets and gives, and which pictures a measure has."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from embcheck.reports.html import images, vega

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from markupsafe import Markup

    from embcheck.checks.record import Json, ResultRecord

EVERY = ""
"""What a picture of any estimate is registered for."""
LADDER = "ladder"
"""What a picture is registered for that stands beside those of the measure."""

_Function = TypeVar("_Function", bound="Callable[..., Iterable[Figure]]")
_EACH: dict[str, list[Callable[[Shown], Iterable[Figure]]]] = defaultdict(list)
_TOGETHER: dict[str, list[Callable[[Sequence[Shown]], Iterable[Figure]]]] = defaultdict(list)
_BROKEN = (ArithmeticError, AttributeError, IndexError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Shown:
    """One result, and of the model what a picture may need."""

    alias: str
    index: int
    """The model's place in the report, which gives its colour."""
    shape: tuple[int, int]
    result: ResultRecord

    @property
    def details(self) -> Json:
        """What the measure kept."""
        return self.result.details

    @property
    def tone(self) -> str:
        """The model's colour."""
        return vega.tone(self.index)

    def figure(
        self, layers: Iterable[vega.Spec], caption: str, *, width: int = vega.WIDTH, height: int = vega.HEIGHT
    ) -> Figure:
        """Layers over each other, under the model's name."""
        return figure(vega.chart(layers, width=width, height=height), self.alias, caption)


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture with what is written above and below it."""

    title: str
    caption: str
    body: Markup


def picture(*measures: str, together: bool = False) -> Callable[[_Function], _Function]:
    """Register a function as what draws some measures: result by result, or all results of a property together."""

    def register(function: _Function) -> _Function:
        for name in measures:
            (_TOGETHER if together else _EACH)[name].append(function)
        return function

    return register


def figure(specification: vega.Spec, title: str, caption: str) -> Figure:
    """A figure of a Vega-Lite specification."""
    return Figure(title, caption, images.draw(specification, f"{title}. {caption}"))


def draw_each(shown: Shown) -> list[Figure]:
    """The figures of one result; that of every estimate where its measure has none of its own."""
    measure = shown.result.measure
    figures = [figure for function in _EACH.get(measure, ()) for figure in _try(function, shown)]
    if not figures and measure not in _TOGETHER:
        figures = [figure for function in _EACH[EVERY] for figure in _try(function, shown)]
    return figures + [figure for function in _EACH[LADDER] for figure in _try(function, shown)]


def draw_together(shown: Sequence[Shown]) -> list[Figure]:
    """The figures that show all results of a property."""
    measure = next(filter(None, (entry.result.measure for entry in shown)), EVERY)
    return [figure for function in _TOGETHER.get(measure, ()) for figure in _try(function, shown)]


def _try(function: Callable[[Any], Iterable[Figure]], shown: Any) -> list[Figure]:
    """The figures, or none where the details are not what the picture is made of: reports are untrusted."""
    try:
        return list(function(shown))
    except _BROKEN:
        return []
