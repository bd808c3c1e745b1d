"""Relations of word pairs, named analogies, and what the source documents compare beside them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from embcheck.errors import UsageError
from embcheck.lexicons.read import distinct, load, select

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "Analogy", "Comparisons", "Pair", "Relation", "analogies", "checked_pair", "comparisons", "related", "relation",
    "relations",
]  # fmt: skip

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Relation:
    """Word pairs that share one meaning, in declared strata.

    Raises `UsageError` where it has fewer than two pairs or a word occurs twice, whatever its case.
    """

    name: str
    sentence: str
    strata: Mapping[str, tuple[Pair, ...]]

    def __post_init__(self) -> None:
        strata = {
            stratum: tuple(checked_pair(self.name, pair) for pair in pairs) for stratum, pairs in self.strata.items()
        }
        object.__setattr__(self, "strata", MappingProxyType(strata))
        if len(self.pairs) < 2:
            raise UsageError(f"relation {self.name!r} needs at least two pairs, and has {len(self.pairs)}")
        distinct(f"relation {self.name!r}", self.words)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Every pair, stratum after stratum."""
        return tuple(pair for pairs in self.strata.values() for pair in pairs)

    @property
    def words(self) -> tuple[str, ...]:
        """Every word, in the order of the pairs."""
        return tuple(word for pair in self.pairs for word in pair)

    def __hash__(self) -> int:
        return hash((self.name, frozenset(self.strata.items())))

    def __reduce__(self) -> tuple[type[Relation], tuple[str, str, dict[str, tuple[Pair, ...]]]]:
        return Relation, (self.name, self.sentence, dict(self.strata))

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Analogy:
    """Four words, read as ``a - b + c = target``, with the candidates to choose among (none given: any word)."""

    name: str
    a: str
    b: str
    c: str
    target: str
    candidates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "candidates", tuple(self.candidates))
        if len({word.casefold() for word in (self.a, self.b, self.c, self.target)}) < 4:
            raise UsageError(f"analogy {self.name!r} needs four different words")
        if self.candidates and self.target not in self.candidates:
            raise UsageError(f"analogy {self.name!r} lacks its target {self.target!r} among its candidates")

    @property
    def words(self) -> tuple[str, ...]:
        """Every distinct word: the four, then the other candidates."""
        return tuple(dict.fromkeys((self.a, self.b, self.c, self.target, *self.candidates)))

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Comparisons:
    """What is looked at beside related pairs.

    ``pieces`` are a word and two parts of it; ``compositions`` two words and a third that their sum should be near.
    """

    source_pairs: tuple[Pair, ...]
    antonyms: tuple[Pair, ...]
    sizes: tuple[str, ...]
    pieces: tuple[tuple[str, str, str], ...]
    compositions: tuple[tuple[str, str, str], ...]

    @property
    def words(self) -> tuple[str, ...]:
        """Every distinct word."""
        lists = (*self.source_pairs, *self.antonyms, self.sizes, *self.pieces, *self.compositions)
        return tuple(dict.fromkeys(word for part in lists for word in part))


def relations(*names: str) -> tuple[Relation, ...]:
    """Return the relations of these names, or all of them; `UsageError` for a name not known."""
    return select("relation", _relations(), names)


def analogies(*names: str) -> tuple[Analogy, ...]:
    """Return the analogies of these names, or all of them; `UsageError` for a name not known."""
    return select("analogy", _analogies(), names)


def relation(name: str, pairs: Iterable[Pair], *, sentence: str = "", stratum: str = "pairs") -> Relation:
    """Build a relation of one's own, in one stratum, under the same rules as those that come with embcheck."""
    return Relation(name, sentence, {stratum: tuple(pairs)})


def checked_pair(name: str, pair: object) -> Pair:
    """Return ``pair`` where it is two words; `UsageError`, naming the list, where it is not."""
    match pair:
        case (str(a), str(b)) if a and b:
            return a, b
    raise UsageError(f"relation {name!r} holds {pair!r}, which is not a pair of words")


@functools.cache
def related() -> Relation:
    """Pairs of related words."""
    table = load("related.toml")
    return Relation("related", table["sentence"], table["pairs"])


@functools.cache
def comparisons() -> Comparisons:
    """Antonyms, synonyms of size, pieces of a word, compositions, and the pairs of the source document."""
    table = load("related.toml")
    return Comparisons(
        source_pairs=tuple(checked_pair("source pairs", tuple(pair)) for pair in table["source_pairs"]),
        antonyms=tuple(checked_pair("antonyms", tuple(pair)) for pair in table["antonyms"]),
        sizes=tuple(table["sizes"]),
        pieces=tuple((whole, first, second) for whole, first, second in table["pieces"]),
        compositions=tuple((first, second, target) for first, second, target in table["compositions"]),
    )


@functools.cache
def _relations() -> dict[str, Relation]:
    return {name: Relation(name, **table) for name, table in load("relations.toml").items()}


@functools.cache
def _analogies() -> dict[str, Analogy]:
    return {table["name"]: Analogy(**table) for table in load("analogies.toml")["analogy"]}
