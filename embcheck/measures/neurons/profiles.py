"""A word's profile: its dot products with the rows of a layer's weights. How two words' profiles agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import stats

from embcheck.errors import NotMeasurable
from embcheck.measures.cells import centred, compared
from embcheck.measures.kernels import blocks
from embcheck.measures.resolve import resolved_pairs, unit, word_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embcheck.lexicons import Relation
    from embcheck.measures.resolve import Words
    from embcheck.table import EmbeddingTable

__all__ = ["Profiles", "agreements", "profiles_of", "profiles_of_pairs"]

RANDOM_PAIRS = 200
_FLAT = 1e-10  # of a profile's largest number: a spread below it is rounding


@dataclass(frozen=True, slots=True, eq=False)
class Profiles:
    """Profiles of both words of n pairs, (n, m) each, for m rows of weights."""

    words: Words
    pairs: list[tuple[str, str]]
    first: NDArray[np.float64]
    second: NDArray[np.float64]


def profiles_of(table: EmbeddingTable, vectors: NDArray[np.float64], weights: str, layer: int) -> NDArray[np.float64]:
    """(n, m) dot products of (n, d) vectors with the m rows of a layer's weights, a block of rows after the other."""
    rows = table.tensor(weights, layer)
    words = torch.from_numpy(vectors).to(table.vectors.device, table.accumulator)
    with blocks.full_precision():
        parts = [rows[part].to(table.accumulator) @ words.T for part in table.slices(len(rows))]
        profiles: NDArray[np.float64] = torch.cat(parts).T.cpu().double().numpy()
    if not np.isfinite(profiles).all():
        raise NotMeasurable(f"{weights} of layer {layer} holds numbers that are not finite")
    return profiles


def profiles_of_pairs(table: EmbeddingTable, relation: Relation, weights: str, layer: int) -> Profiles:
    """The profiles of a relation's pairs of single tokens."""
    words, pairs = resolved_pairs(table, relation)
    profiles = profiles_of(table, words.vectors, weights, layer)
    flat = np.ptp(profiles, axis=1) <= _FLAT * np.abs(profiles).max(axis=1)
    if flat.any():
        word = words.words[int(np.argmax(flat))]
        raise NotMeasurable(
            f"{word!r} has the same product with all {profiles.shape[1]} rows of {weights}, layer {layer}"
        )
    first, second = (profiles[[words.index[pair[k]] for pair in pairs]] for k in (0, 1))
    return Profiles(words, pairs, first, second)


def agreements(
    table: EmbeddingTable, profiles: Profiles, weights: str, layer: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Five measures of agreement, for related pairs and for 200 pairs of random words."""
    rows = word_rows(table)
    drawn = rng.permutation(rows)[: 2 * min(RANDOM_PAIRS, len(rows) // 2)]
    vectors = table.gather(drawn).cpu().double().numpy()
    others = np.split(profiles_of(table, vectors, weights, layer), 2)
    related, random = _by_measure(profiles.first, profiles.second), _by_measure(others[0], others[1])
    return {
        name: compared(values, random[name], nearer_is_less=name == "euclidean") for name, values in related.items()
    }


def _by_measure(first: NDArray[np.float64], second: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """(n,) agreements of row i of one with row i of the other."""
    ranks = [centred(stats.rankdata(rows, axis=1)) for rows in (first, second)]
    tau = [stats.kendalltau(a, b).statistic for a, b in zip(first, second, strict=True)]
    return {
        "pearson": (centred(first) * centred(second)).sum(1),
        "spearman": (ranks[0] * ranks[1]).sum(1),
        "kendall": np.nan_to_num(np.array(tau)),  # a flat profile of a random word has no order
        "cosine": (unit(first) * unit(second)).sum(1),
        "euclidean": np.linalg.norm(first - second, axis=1),
    }
