"""Stages, which have a check's tokens over noise, and what is planted there: structure that it must be seen to find.

What is planted makes the property hold or, where noise holds, fail. Noise is fresh each time; ``rng`` starts anew for
each table, so that what it draws (directions, centres) is the same in all of them, and tokens, pairs and words are
independent draws around it: a known population. Vectors have entries of variance 1, so the length of a row, and of what
is planted, is counted in units of the square root of the width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count, islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embcheck.checks.evaluate import evaluate
from embcheck.measures.cosines.negative_share_difference import class_rows
from embcheck.settings import Settings
from embcheck.sources.random import characters, filler
from embcheck.table import EmbeddingTable
from embcheck.table.vocabulary import TokenKind, WordVocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from embcheck.checks.evaluate import Check
    from embcheck.stats import Ints

    Plant = Callable[[EmbeddingTable, Mapping[str, Any], np.random.Generator], EmbeddingTable]
    Floats32 = NDArray[np.float32]

__all__ = ["PLANTED", "ROWS", "SHAPES", "WIDTH", "Stage", "plant_of", "shaped", "stage_of"]

ROWS, WIDTH = 1_500, 32
SHAPES = ("heterogeneous", "heavy lengths", "clustered", "shifted")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(0x80, 0xA0))
CONTROLS = tuple(map(chr, range(0x01, 0x20)))
_ROUNDS = 20  # of asking: a check may ask for the next words only once it has found the first
_DECOYS = 3  # rows near what the words of a pair share, so that no word of the question is near enough


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


def _clustered(vectors: Floats32, rng: np.random.Generator) -> Floats32:
    """Rows in clusters of five, drawn at random, that share half of their variance."""
    centres = rng.standard_normal((len(vectors) // 5, vectors.shape[1]), dtype=np.float32)
    return np.asarray((vectors + centres[rng.integers(0, len(centres), len(vectors))]) / np.float32(np.sqrt(2)))


def _heavy_lengths(vectors: Floats32, rng: np.random.Generator) -> Floats32:
    """Lengths differ by lognormal factors, of a standard deviation of one."""
    return np.asarray(vectors * np.exp(rng.standard_normal((len(vectors), 1), dtype=np.float32)))


def _with_a_mean(vectors: Floats32, rng: np.random.Generator) -> Floats32:
    """All rows share a direction, half as long as a row of noise; the same in every table."""
    return np.asarray(vectors + np.float32(0.5))


def shaped(
    name: str, noise: EmbeddingTable, structure: Callable[[EmbeddingTable], EmbeddingTable], rng: np.random.Generator
) -> EmbeddingTable:
    """A table with structure planted in noise, one of ``SHAPES``; ``rng`` is each table's own.

    Rows of clusters are made before the structure is planted, lengths and the mean after it; in a heterogeneous table
    half of the rows keep their noise, drawn at random, so that half of the words carry the structure.
    """
    if name == "clustered":
        return structure(noise.with_vectors(torch.from_numpy(_clustered(noise.vectors.numpy(), rng))))
    vectors = structure(noise).vectors.numpy()
    if name == "heterogeneous":
        vectors = np.where(rng.random((len(vectors), 1)) < 0.5, vectors, noise.vectors.numpy())
    else:
        vectors = {"heavy lengths": _heavy_lengths, "shifted": _with_a_mean}[name](vectors, rng)
    return noise.with_vectors(torch.from_numpy(vectors))


def stage_of(check: Check, *, rows: int = ROWS, width: int = WIDTH) -> Stage:
    """A stage with the tokens that a check needs.

    They are characters, bytes, control characters, the words of its parameters, every word that it asks the
    vocabulary for when it runs, and made-up words up to ``rows``.
    """
    words = dict.fromkeys(w for value in check.params.values() for w in getattr(value, "words", ()))
    for _ in range(_ROUNDS):
        known = dict.fromkeys([*characters(), *BYTES, *CONTROLS, *words])
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


def plant_of(check: Check, measure: str) -> Plant | None:
    """What the property declares as planted, or what is known for its measure; none where its parameters are others."""
    declared: Plant | None = check.declaration.planted
    change, parameter = PLANTED.get(measure, (None, None))
    if declared is not None or change is None or (parameter is not None and parameter not in check.params):
        return declared

    def plant(table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator) -> EmbeddingTable:
        given = None if parameter is None else parameters[parameter]
        return table.with_vectors(torch.from_numpy(change(_Noise(table, table.vectors.numpy().copy(), given, rng))))

    return plant


@dataclass(frozen=True, slots=True, eq=False)
class _Noise:
    """What is planted in: vectors to change, and what the property was given to look at."""

    table: EmbeddingTable
    vectors: NDArray[np.float32]
    given: Any
    rng: np.random.Generator

    def rows(self, words: Sequence[str]) -> Ints:
        """Rows of those words that have one."""
        return np.array([row for row in self.table.rows(words) if row is not None], dtype=np.int64)

    def sides(self, pairs: Sequence[tuple[str, str]]) -> list[Ints]:
        """Rows of all first words, and of all second ones."""
        return [self.rows([pair[k] for pair in pairs]) for k in (0, 1)]

    def directions(self, count: int = 1) -> NDArray[np.float32]:
        """(count, d) orthogonal directions, each as long as a row of noise."""
        axes = np.linalg.qr(self.rng.standard_normal((self.table.width, count)))[0].T
        return np.asarray(axes * np.sqrt(self.table.width), dtype=np.float32)


def _shifted(by: float) -> Callable[[_Noise], NDArray[np.float32]]:
    """All rows moved by so many times their own length."""
    return lambda noise: np.asarray(noise.vectors + np.float32(by) * noise.directions()[0])


def _turned_class(noise: _Noise) -> NDArray[np.float32]:
    """All rows share a direction, and the class points away from it."""
    vectors: NDArray[np.float32] = noise.vectors + 0.3 * noise.directions()[0]
    vectors[class_rows(noise.table, noise.given)] *= -1
    return vectors


def _offsets(noise: _Noise) -> NDArray[np.float32]:
    """The second word of a pair is the first, a common direction, and noise."""
    vectors, (first, second) = noise.vectors, noise.sides(noise.given.pairs)
    vectors[second] = vectors[first] + 0.5 * vectors[second] + 0.5 * noise.directions()[0]
    return vectors


def _parallelogram(noise: _Noise) -> NDArray[np.float32]:
    """The target is a - b + c, of unit rows, and noise."""
    vectors = _unit_length(noise)
    a, b, c, target = noise.rows(noise.given.words[:4])
    vectors[target] = vectors[a] - vectors[b] + vectors[c] + 0.3 * vectors[target]
    return vectors


def _solvable(noise: _Noise) -> NDArray[np.float32]:
    """The words of a pair lie on either side of a row of their own, and decoys around that row."""
    vectors, (first, second) = noise.vectors, noise.sides(noise.given.pairs)
    others = np.setdiff1d(np.arange(len(vectors)), [*first, *second])
    decoys = others[len(others) % len(first) :][: _DECOYS * len(first)]
    vectors[decoys] = vectors[first[np.arange(len(decoys)) % len(first)]] + 0.3 * vectors[decoys]
    direction = 1.2 * noise.directions()[0]
    vectors[second] = vectors[first] + 0.3 * vectors[second] - direction
    vectors[first] += direction
    return vectors


def _near_partners(noise: _Noise) -> NDArray[np.float32]:
    """The second word of a pair has a part of the first."""
    vectors, (first, second) = noise.vectors, noise.sides(noise.given.pairs)
    vectors[second] += 0.4 * vectors[first]
    return vectors


def _clusters(noise: _Noise) -> NDArray[np.float32]:
    """The words of a category lie around a centre of their own."""
    vectors, groups = noise.vectors, noise.given.groups
    for group, centre in zip(groups, noise.directions(len(groups)), strict=True):
        vectors[noise.rows(group.words)] += 0.6 * centre
    return vectors


def _along_an_arc(noise: _Noise) -> NDArray[np.float32]:
    """Words in order lie along half a circle, those of a cyclic order round a whole one."""
    vectors, rows, cyclic = noise.vectors, noise.rows(noise.given.words), noise.given.cyclic
    angles = np.linspace(0, (1 + cyclic) * np.pi, len(rows), endpoint=not cyclic, dtype=np.float32)[:, None]
    x, y = noise.directions(2)
    vectors[rows] = 0.3 * vectors[rows] + np.cos(angles) * x + np.sin(angles) * y
    return vectors


def _poles(noise: _Noise) -> NDArray[np.float32]:
    """The words of each pole lie on their side."""
    vectors, direction = noise.vectors, 0.5 * noise.directions()[0]
    first, second = noise.sides(noise.given.poles.pairs)
    vectors[first] -= direction
    vectors[second] += direction
    return vectors


def _hubs(noise: _Noise) -> NDArray[np.float32]:
    """All rows share a direction, and some, about one in ten, have little else."""
    vectors = noise.vectors
    vectors[vectors[:, 0] > 1.28] *= 0.3
    return np.asarray(vectors + 0.8 * noise.directions()[0])


def _few_directions(noise: _Noise) -> NDArray[np.float32]:
    """A quarter of the columns has most of the variance."""
    noise.vectors[:, : max(1, noise.table.width // 4)] *= 1.5
    return noise.vectors


def _longer_first(noise: _Noise) -> NDArray[np.float32]:
    """Lengths fall with the row, by as much as chance varies them."""
    return np.asarray(noise.vectors * np.linspace(1.2, 0.8, len(noise.vectors), dtype=np.float32)[:, None])


def _unit_length(noise: _Noise) -> NDArray[np.float32]:
    """All rows have length 1."""
    return np.asarray(noise.vectors / np.linalg.norm(noise.vectors, axis=1, keepdims=True))


def _short_rows(noise: _Noise) -> NDArray[np.float32]:
    """One row in twenty is nearly zero."""
    noise.vectors[::20] *= 1e-3
    return noise.vectors


def _uneven_lengths(noise: _Noise) -> NDArray[np.float32]:
    """Lengths differ by factors: the first column of each row says by how much."""
    return np.asarray(noise.vectors * np.exp(noise.vectors[:, :1]))


PLANTED: Mapping[str, tuple[Callable[[_Noise], NDArray[np.float32]], str | None]] = MappingProxyType(
    {
        "analogy_gain": (_solvable, "relation"),
        "analogy_rank": (_parallelogram, "analogy"),
        "axis_accuracy": (_poles, "axis"),
        "background_cosine": (_shifted(2.0), None),
        "category_separation": (_clusters, "categories"),
        "constant_length_share": (_unit_length, None),
        "mean_cosine": (_shifted(0.1), None),
        "metric_agreement": (_uneven_lengths, None),
        "negative_share_difference": (_turned_class, "token_class"),
        "neighbor_category_share": (_clusters, "categories"),
        "neighbor_count_skewness": (_hubs, None),
        "non_negative_share": (_shifted(0.3), None),
        "norm_frequency_correlation": (_longer_first, None),
        "offset_consistency": (_offsets, "relation"),
        "order_agreement": (_along_an_arc, "sequence"),
        "participation_share": (_few_directions, None),
        "related_pair_auc": (_near_partners, "relation"),
        "untrained_share": (_short_rows, None),
    }
)
"""By measure: what changes the noise, and the parameter of the property that says which words or class."""
