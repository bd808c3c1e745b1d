"""Words that have an order."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from embcheck.errors import UsageError
from embcheck.lexicons.read import distinct, load, select

__all__ = ["OrderedWords", "sequences"]


@dataclass(frozen=True, slots=True)
class OrderedWords:
    """Words in order; ``first`` is the number that the first of them stands for.

    Raises `UsageError` where there are fewer than three or a word occurs twice, whatever its case.
    """

    name: str
    sentence: str
    words: tuple[str, ...]
    first: int = 1
    cyclic: bool = False

    def __post_init__(self) -> None:
        """Check the words."""
        object.__setattr__(self, "words", tuple(self.words))
        if len(self.words) < 3:
            raise UsageError(f"sequence {self.name!r} needs at least three words, and has {len(self.words)}")
        distinct(f"sequence {self.name!r}", self.words)

    def __str__(self) -> str:
        """Return the name."""
        return self.name


def sequences(*names: str) -> tuple[OrderedWords, ...]:
    """Return the ordered words of these names, or all of them; `UsageError` for a name not known."""
    return select("sequence", _sequences(), names)


@functools.cache
def _sequences() -> dict[str, OrderedWords]:
    return {name: OrderedWords(name, **table) for name, table in load("sequences.toml").items()}
