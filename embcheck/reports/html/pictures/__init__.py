"""The pictures, one module a family. A module here registers what draws a property's results with `@picture`.

A picture gets what the report says of one result, or of all results of a property on all models, and gives figures.
What a report's details lack, or hold in another shape than the measure gives, can't be drawn: the property then has
the picture that serves every estimate.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from embcheck.reports.html.draw import svg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from markupsafe import Markup

__all__ = ["Figure", "Shown", "drawn_each", "drawn_together", "figure", "picture"]


@dataclass(frozen=True, slots=True)
class Shown:
    """One result, and of the model what a picture may need."""

    alias: str
    index: int
    """The model's place in the report, which gives its colour."""
    shape: tuple[int, int]
    result: Mapping[str, Any]

    @property
    def details(self) -> Mapping[str, Any]:
        """What the measure kept."""
        found: Mapping[str, Any] = self.result["details"]
        return found


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture with what is written above and below it."""

    title: str
    caption: str
    body: Markup


_One = "Callable[[Shown], Iterable[Figure]]"
_Many = "Callable[[Sequence[Shown]], Iterable[Figure]]"
_Function = TypeVar("_Function", bound="Callable[..., Iterable[Figure]]")
_EACH: dict[str, list[Callable[[Shown], Iterable[Figure]]]] = defaultdict(list)
_TOGETHER: dict[str, list[Callable[[Sequence[Shown]], Iterable[Figure]]]] = defaultdict(list)
_BROKEN = (ArithmeticError, AttributeError, IndexError, LookupError, TypeError, ValueError)


def picture(*properties: str, together: bool = False) -> Callable[[_Function], _Function]:
    """Register a function as what draws some properties: result by result, or all results of a property together."""

    def register(function: _Function) -> _Function:
        for name in properties:
            (_TOGETHER if together else _EACH)[name].append(function)
        return function

    return register


def figure(specification: Mapping[str, Any], title: str, caption: str, description: str = "") -> Figure:
    """A figure of a Vega-Lite specification. Its description is title and caption, where nothing else is said."""
    return Figure(title, caption, svg.draw(specification, description or f"{title}. {caption}"))


def drawn_each(shown: Shown) -> list[Figure]:
    """The figures of one result; those that serve every estimate where its property has none of its own."""
    _load()
    from embcheck.reports.html.pictures import generic

    functions = _EACH[shown.result["property"]]
    found = [one for function in functions for one in _tried(function, shown)]
    if found or shown.result["property"] in _TOGETHER:
        return found
    return list(_tried(generic.estimate, shown))


def drawn_together(shown: Sequence[Shown]) -> list[Figure]:
    """The figures that show all results of a property."""
    _load()
    name = shown[0].result["property"]
    return [one for function in _TOGETHER.get(name, ()) for one in _tried(function, shown)]


def _tried(function: Callable[[Any], Iterable[Figure]], shown: Any) -> Iterator[Figure]:
    """The figures, or none where the details are not what the picture is made of: reports are untrusted."""
    try:
        found = list(function(shown))
    except _BROKEN:
        return
    yield from found


def _load() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
