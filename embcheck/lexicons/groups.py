"""Words in named groups, hierarchies of them, and words in order."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from embcheck.errors import UsageError
from embcheck.lexicons.relations import Named, Pair, distinct, load, select

__all__ = [
    "Categories", "Category", "Hierarchy", "OrderedWords", "Taxonomy", "categories", "hierarchies", "sequences",
    "taxonomy",
]  # fmt: skip


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
class Hierarchy(Categories):
    """Categories whose names are words too: "animal" over "mammal" and "bird", and these over their members.

    Siblings are the groups, and the words of one group.
    """

    @property
    def words(self) -> tuple[str, ...]:
        """The word for everything, then that for each group and its members."""
        return (self.name, *(word for group in self.groups for word in (group.name, *group.words)))

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Each word but the first with the word one step above it."""
        members = ((word, group.name) for group in self.groups for word in group.words)
        return (*((name, self.name) for name in self.names), *members)


@dataclass(frozen=True, slots=True)
class Taxonomy(Named):
    """Several hierarchies that are asked about together."""

    name: str
    trees: tuple[Hierarchy, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The members of all kinds, without the names of kinds and of what they are kinds of."""
        return tuple(word for tree in self.trees for group in tree.groups for word in group.words)


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


def hierarchies(*names: str) -> tuple[Hierarchy, ...]:
    """Return the hierarchies of these names, or all of them; `UsageError` for a name not known.

    Their words are none of ``words()``: a random table has those that other lists share, and no others.
    """
    return select("hierarchy", _hierarchies(), names)


@functools.cache
def _hierarchies() -> dict[str, Hierarchy]:
    return {
        name: Hierarchy(name, f"kinds of {name}", tuple(Category(*group) for group in table.items()))
        for name, table in load("hierarchy.toml").items()
    }


def taxonomy() -> Taxonomy:
    """Return all hierarchies as one."""
    return Taxonomy("kinds", hierarchies())


def sequences(*names: str) -> tuple[OrderedWords, ...]:
    """Return the ordered words of these names, or all of them; `UsageError` for a name not known."""
    return select("sequence", _sequences(), names)


@functools.cache
def _sequences() -> dict[str, OrderedWords]:
    return {name: OrderedWords(name, **table) for name, table in load("sequences.toml").items()}
