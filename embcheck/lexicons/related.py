"""Related words, and the words that the source documents compare."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from embcheck.lexicons.read import load
from embcheck.lexicons.relations import Pair, Relation, checked_pair

__all__ = ["Comparisons", "comparisons", "related"]


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
