"""Planted structure: for each property, a table on which it must be seen to hold, or, where noise holds, to fail.

A plant is ``(table, parameters, rng) -> table``. The table is noise, fresh each time; ``rng`` starts anew for each
table, so that what it draws (directions, centres) is the same in all of them, and tokens, pairs and words are
independent draws around it: a known population. Vectors have entries of variance 1, so the length of a row, and of
what is planted, is counted in units of the square root of the width.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embcheck.measures.cosines.negative_share_difference import class_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from embcheck.checks.evaluate import Check
    from embcheck.table import EmbeddingTable

    Plant = Callable[[EmbeddingTable, Mapping[str, Any], np.random.Generator], EmbeddingTable]

__all__ = ["PLANTED", "plant_of"]

_DECOYS = 3  # rows near what the words of a pair share, so that no word of the question is near enough


def plant_of(check: Check) -> Plant | None:
    """What the property declares as planted, or what is known here for those that ship; none for others."""
    declared: Plant | None = check.declaration.planted
    return declared or PLANTED.get(check.declaration.id)


def _vectors(table: EmbeddingTable) -> NDArray[np.float32]:
    return table.vectors.numpy().copy()


def _table(table: EmbeddingTable, vectors: NDArray[np.float32]) -> EmbeddingTable:
    return table.with_vectors(torch.from_numpy(vectors))


def _at(table: EmbeddingTable, words: Sequence[str]) -> NDArray[np.int64]:
    return np.array([row for row in table.rows(words) if row is not None], dtype=np.int64)


def _sides(table: EmbeddingTable, pairs: Sequence[tuple[str, str]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return _at(table, [a for a, _ in pairs]), _at(table, [b for _, b in pairs])


def _directions(table: EmbeddingTable, rng: np.random.Generator, count: int = 1) -> NDArray[np.float32]:
    """(count, d) orthogonal directions, each as long as a row of noise."""
    axes = np.linalg.qr(rng.standard_normal((table.width, count)))[0].T
    return np.asarray(axes * np.sqrt(table.width), dtype=np.float32)


def _shifted(by: float) -> Plant:
    """All rows moved by so many times their own length."""

    def plant(table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator) -> EmbeddingTable:
        return _table(table, _vectors(table) + np.float32(by) * _directions(table, rng)[0])

    return plant


def _turned_class(table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator) -> EmbeddingTable:
    """All rows share a direction, and the class points away from it."""
    vectors = _vectors(table) + 0.3 * _directions(table, rng)[0]
    vectors[class_rows(table, parameters["token_class"])] *= -1
    return _table(table, vectors)


def _offsets(table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator) -> EmbeddingTable:
    """The second word of a pair is the first, a common direction, and noise."""
    vectors = _vectors(table)
    first, second = _sides(table, parameters["relation"].pairs)
    vectors[second] = vectors[first] + 0.5 * vectors[second] + 0.5 * _directions(table, rng)[0]
    return _table(table, vectors)


def _parallelogram(table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator) -> EmbeddingTable:
    """The target is a - b + c, of unit rows, and noise."""
    vectors = _vectors(table)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    a, b, c, target = _at(table, parameters["analogy"].words[:4])
    vectors[target] = vectors[a] - vectors[b] + vectors[c] + 0.3 * vectors[target]
    return _table(table, vectors)


def _solvable(table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator) -> EmbeddingTable:
    """The words of a pair lie on either side of a row of their own, and decoys around that row."""
    vectors = _vectors(table)
    first, second = _sides(table, parameters["relation"].pairs)
    others = np.setdiff1d(np.arange(len(vectors)), [*first, *second])
    decoys = others[len(others) % len(first) :][: _DECOYS * len(first)]
    own = vectors[first[np.arange(len(decoys)) % len(first)]]
    vectors[decoys] = own + 0.3 * vectors[decoys]
    direction = 1.2 * _directions(table, rng)[0]
    vectors[second] = vectors[first] + 0.3 * vectors[second] - direction
    vectors[first] += direction
    return _table(table, vectors)


def _near_partners(table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator) -> EmbeddingTable:
    """The second word of a pair has a part of the first."""
    vectors = _vectors(table)
    first, second = _sides(table, parameters["relation"].pairs)
    vectors[second] += 0.4 * vectors[first]
    return _table(table, vectors)


def _clusters(table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator) -> EmbeddingTable:
    """The words of a category lie around a centre of their own."""
    vectors, groups = _vectors(table), parameters["categories"].groups
    for group, centre in zip(groups, _directions(table, rng, len(groups)), strict=True):
        vectors[_at(table, group.words)] += 0.6 * centre
    return _table(table, vectors)


def _along_an_arc(table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator) -> EmbeddingTable:
    """Words in order lie along half a circle."""
    vectors, rows = _vectors(table), _at(table, parameters["sequence"].words)
    angles = np.linspace(0, np.pi, len(rows), dtype=np.float32)[:, None]
    one, other = _directions(table, rng, 2)
    vectors[rows] = 0.3 * vectors[rows] + np.cos(angles) * one + np.sin(angles) * other
    return _table(table, vectors)


def _poles(table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator) -> EmbeddingTable:
    """The words of each pole lie on their side."""
    vectors, direction = _vectors(table), 0.5 * _directions(table, rng)[0]
    first, second = _sides(table, parameters["axis"].poles.pairs)
    vectors[first] -= direction
    vectors[second] += direction
    return _table(table, vectors)


def _hubs(table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator) -> EmbeddingTable:
    """All rows share a direction, and some, about one in ten, have little else."""
    vectors = _vectors(table)
    vectors[vectors[:, 0] > 1.28] *= 0.3
    return _table(table, vectors + 0.8 * _directions(table, rng)[0])


def _few_directions(table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator) -> EmbeddingTable:
    """A quarter of the columns has most of the variance."""
    vectors = _vectors(table)
    vectors[:, : max(1, table.width // 4)] *= 1.5
    return _table(table, vectors)


def _longer_first(table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator) -> EmbeddingTable:
    """Lengths fall with the row, by as much as chance varies them."""
    vectors = _vectors(table)
    return _table(table, vectors * np.linspace(1.2, 0.8, len(vectors), dtype=np.float32)[:, None])


def _unit_length(table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator) -> EmbeddingTable:
    """All rows have length 1."""
    vectors = _vectors(table)
    return _table(table, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _short_rows(table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator) -> EmbeddingTable:
    """One row in twenty is nearly zero."""
    vectors = _vectors(table)
    vectors[::20] *= 1e-3
    return _table(table, vectors)


def _uneven_lengths(table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator) -> EmbeddingTable:
    """Lengths differ by factors: the first column of each row says by how much."""
    vectors = _vectors(table)
    return _table(table, vectors * np.exp(vectors[:, :1]))


PLANTED: Mapping[str, Plant] = MappingProxyType(
    {
        "analogy_gain": _solvable,
        "analogy_rank": _parallelogram,
        "ascii_anti_alignment": _turned_class,
        "background_similarity": _shifted(2.0),
        "effective_dimension": _few_directions,
        "frequency_norm": _longer_first,
        "hubness": _hubs,
        "isotropy": _shifted(0.1),
        "metric_agreement": _uneven_lengths,
        "nearest_neighbors": _clusters,
        "normalization": _unit_length,
        "number_order": _along_an_arc,
        "plural_direction_consistency": _offsets,
        "positive_cosine_bias": _shifted(0.3),
        "related_word_pairs": _near_partners,
        "semantic_axes": _poles,
        "semantic_categories": _clusters,
        "untrained_tokens": _short_rows,
    }
)
