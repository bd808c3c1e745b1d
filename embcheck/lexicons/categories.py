"""Words in named groups."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from embcheck.errors import UsageError
from embcheck.lexicons.read import distinct, load, select

__all__ = ["Categories", "Category", "categories"]


@dataclass(frozen=True, slots=True)
class Category:
    """Words of one kind."""

    name: str
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        """Freeze the words."""
        object.__setattr__(self, "words", tuple(self.words))

    def __str__(self) -> str:
        """Return the name."""
        return self.name


@dataclass(frozen=True, slots=True)
class Categories:
    """Several categories that share no word.

    Raises `UsageError` where there are fewer than two or a word occurs twice, whatever its case.
    """

    name: str
    sentence: str
    groups: tuple[Category, ...]

    def __post_init__(self) -> None:
        """Check the groups."""
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

    def __str__(self) -> str:
        """Return the name."""
        return self.name


def categories(*names: str) -> tuple[Categories, ...]:
    """Return the sets of categories of these names, or all of them; `UsageError` for a name not known."""
    return select("set of categories", _categories(), names)


@functools.cache
def _categories() -> dict[str, Categories]:
    return {
        name: Categories(name, table["sentence"], tuple(Category(*group) for group in table["groups"].items()))
        for name, table in load("categories.toml").items()
    }
