"""Reading the data files, and choosing entries by name."""

from __future__ import annotations

import importlib.resources
import tomllib
from typing import TYPE_CHECKING, Any, TypeVar

from embcheck.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["distinct", "load", "select"]

_Entry = TypeVar("_Entry")


def load(file: str) -> dict[str, Any]:
    """One data file of this package."""
    return tomllib.loads(importlib.resources.files(__package__).joinpath("data", file).read_text(encoding="utf-8"))


def select(kind: str, known: Mapping[str, _Entry], names: tuple[str, ...]) -> tuple[_Entry, ...]:
    """The entries of these names, or all of them; `UsageError` for a name not known."""
    for name in names:
        if name not in known:
            raise UsageError(f"no {kind} is named {name!r}; the known ones are {', '.join(known)}")
    return tuple(known[name] for name in names or known)


def distinct(what: str, words: Iterable[str]) -> None:
    """Raise `UsageError` where a word occurs twice, whatever its case."""
    seen: set[str] = set()
    for word in words:
        if word.casefold() in seen:
            raise UsageError(f"{what} has the word {word!r} twice; each word may occur once")
        seen.add(word.casefold())
