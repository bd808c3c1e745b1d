"""Stages: the tokens that a check needs, and tables without structure over them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count, islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.checks.evaluate import evaluate
from embcheck.settings import Settings
from embcheck.sources.random import characters, filler
from embcheck.table import EmbeddingTable
from embcheck.table.vocabulary import TokenKind, WordVocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from embcheck.checks.evaluate import Check

__all__ = ["ROWS", "WIDTH", "Stage", "stage_of"]

ROWS, WIDTH = 1_500, 32
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(0x80, 0xA0))
_ROUNDS = 20  # of asking: a check may ask for the next words only once it has found the first


class _Vocabulary(WordVocabulary):
    """Words, some of them bytes, that remembers which words were asked for."""

    def __init__(self, words: Iterable[str]) -> None:
        super().__init__(words)
        self.asked: dict[str, None] = {}
        self.kinds[[token in BYTES for token in self.tokens]] = TokenKind.BYTE

    def encode(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        self.asked |= dict.fromkeys(words)
        return super().encode(words)


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A Gaussian table that others are made from, which share its tokens; and the check's measure, as far as known."""

    table: EmbeddingTable
    measure: str = ""

    def noise(self, *seed: int) -> EmbeddingTable:
        """Independent standard normal vectors of their own for each seed."""
        vectors = np.random.default_rng(seed).standard_normal(tuple(self.table.vectors.shape), dtype=np.float32)
        return self.table.with_vectors(torch.from_numpy(vectors))


def stage_of(check: Check, *, rows: int = ROWS, width: int = WIDTH) -> Stage:
    """A stage with the tokens that a check needs.

    They are characters, bytes, the words of its parameters, every word that it asks the vocabulary for when it runs,
    and made-up words up to ``rows``.
    """
    words = dict.fromkeys(w for value in check.params.values() for w in getattr(value, "words", ()))
    for _ in range(_ROUNDS):
        known = dict.fromkeys([*characters(), *BYTES, *words])
        made_up = (word for number in count() if (word := filler(number)) not in known)
        vocabulary = _Vocabulary([*known, *islice(made_up, max(0, rows - len(known)))])
        table = EmbeddingTable.from_arrays(torch.zeros(len(vocabulary.tokens), width), vocabulary.tokens)
        stage = Stage(EmbeddingTable(table.vectors, vocabulary, table.provenance))
        estimate = evaluate(check, stage.noise(0), Settings(probes=2, draws=1)).estimate
        missing = [word for word in vocabulary.asked if word not in known]
        if not missing:
            break
        words |= dict.fromkeys(missing)
    if estimate is None:  # two probes are too few for some measures, and enough to ask for words
        estimate = evaluate(check, stage.noise(0), Settings(probes=100, draws=1, details=False)).estimate
    return stage if estimate is None else replace(stage, measure=estimate.measure)
