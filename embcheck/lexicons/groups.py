"""Words in named groups, and words in order."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from embcheck.errors import UsageError
from embcheck.lexicons.relations import Named, distinct, load, select

__all__ = ["Categories", "Category", "OrderedWords", "categories", "sequences"]


@dataclass(frozen=True, slots=True)
class Category(Named):
    """Words of one kind."""

    name: str
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(self.words))


@dataclass(frozen=True, slots=True)
class Categories(Named):
    """Several categories that share no word.

    Raises `UsageError` where there are fewer than two or a word occurs twice, whatever its case.
    """

    name: str
    sentence: str
    groups: tuple[Category, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(self.groups))
        if len(self.groups) < 2:
            raise UsageError(f"categories {self.name!r} need at least two groups, and have {len(self.groups)}")
        distinct(f"categories {self.name!r}", self.words)

    @property
    def words(self) -> tuple[str, ...]:
        """Every word, group after group."""
        return tuple(word for group in self.groups for word in group.words)

    @property
    def names(self) -> tuple[str, ...]:
        """The groups' names."""
        return tuple(group.name for group in self.groups)


@dataclass(frozen=True, slots=True)
class OrderedWords(Named):
    """Words in order; ``first`` is the number that the first of them stands for.

    Raises `UsageError` where there are fewer than three or a word occurs twice, whatever its case.
    """

    name: str
    sentence: str
    words: tuple[str, ...]
    first: int = 1
    cyclic: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(self.words))
        if len(self.words) < 3:
            raise UsageError(f"sequence {self.name!r} needs at least three words, and has {len(self.words)}")
        distinct(f"sequence {self.name!r}", self.words)


def categories(*names: str) -> tuple[Categories, ...]:
    """Return the sets of categories of these names, or all of them; `UsageError` for a name not known."""
    return select("set of categories", _categories(), names)


@functools.cache
def _categories() -> dict[str, Categories]:
    return {
        name: Categories(name, table["sentence"], tuple(Category(*group) for group in table["groups"].items()))
        for name, table in load("categories.toml").items()
    }


def sequences(*names: str) -> tuple[OrderedWords, ...]:
    """Return the ordered words of these names, or all of them; `UsageError` for a name not known."""
    return select("sequence", _sequences(), names)


@functools.cache
def _sequences() -> dict[str, OrderedWords]:
    return {name: OrderedWords(name, **table) for name, table in load("sequences.toml").items()}
