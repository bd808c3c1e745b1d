"""Words round a circle: does the similarity of two of them depend only on how far round they stand?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from embcheck.errors import NotMeasurable
from embcheck.estimate import Estimate, measure, part
from embcheck.measures.resolve import lowest_pairs, resolve, unit
from embcheck.measures.words.order_agreement import compared_orders

if TYPE_CHECKING:
    from embcheck.lexicons import OrderedWords
    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["circulant_share"]

MIN_WORDS = 7  # of six, the orders that tie with the true one are more than 1% of all orders
_CELLS = 2**20  # permuted cells held at once: 8 MB
_ROUNDING = 1e-12


@measure
def circulant_share(table: EmbeddingTable, sequence: OrderedWords, *, rng: np.random.Generator) -> Estimate:
    r"""Share of the variance of the words' centred Gram matrix that its best circulant approximation explains.

    With :math:`G = C C^\top`, C the (n, d) unit rows of the n words less their mean, and :math:`g_{ij} =
    \min(|i - j|, m - |i - j|)` the distance of two of the m places round the circle, the nearest symmetric circulant
    matrix has the mean of each cyclic diagonal on it; over the n(n - 1)/2 cells off the main one, :math:`R^2 = 1 -
    \sum (G_{ij} - \bar G_{g(ij)})^2 / \sum (G_{ij} - \bar G)^2`. The words are the whole list, so the value is exact.
    ``shuffled_order`` permutes the words: all orders up to 8 words, else 9,999 drawn. Orders that turn the circle,
    reflect it, or go round it in steps that meet every place tie with the true one: 42 of 5,040 for seven words. The
    effect is the share of the words' variance in the plane of the first frequency: a circulant matrix has the Fourier
    basis as its eigenvectors (arXiv 2602.15029). Months and weekdays as circles: Engels et al. 2024, "Not All Language
    Model Features Are One-Dimensionally Linear".

    Parameters
    ----------
    sequence
        Words in their order round the circle. Those that are no single token are left out; the others keep their
        places.

    Raises
    ------
    NotMeasurable
        Fewer than 7 words are single tokens, or their centred products are all equal.
    """
    words, places = resolve(table, sequence.words), len(sequence.words)
    n = len(words.words)
    if n < MIN_WORDS:
        raise NotMeasurable(f"{n} of {places} {sequence.name} are single tokens here; at least {MIN_WORDS} are needed")
    at = np.array([sequence.words.index(word) for word in words.words], dtype=np.int64)
    apart = np.abs(at[:, None] - at[None])
    centred = words.units - words.units.mean(0)
    gram, upper = centred @ centred.T, np.triu_indices(n, 1)
    cells = gram[upper]
    if np.ptp(cells) <= _ROUNDING:
        raise NotMeasurable(f"all {len(cells)} products of centred {sequence.name} are equal")
    distances, diagonal = np.unique(np.minimum(apart, places - apart)[upper], return_inverse=True)
    value, means = float(_explained(cells[None], diagonal)[0]), np.bincount(diagonal, cells) / np.bincount(diagonal)
    fitted, labels = means[diagonal], [f"{words.words[i]}-{words.words[j]}" for i, j in zip(*upper, strict=True)]
    return Estimate.exact(
        value,
        n=n,
        unit="words of the list",
        name="share of the Gram matrix that a circulant explains",
        effect={"name": "share of the words' variance on one circle", "value": _on_circle(centred, at, places)},
        draws={"shuffled_order": _shuffled(gram, diagonal, value, rng)},
        parts=(
            part(labels, len(cells) * (fitted - cells.mean()) ** 2 / (len(cells) * cells.var()), population=len(cells)),
        ),
        details={
            "coverage": words.coverage.record(),
            "words": list(words.words),
            "distances": distances.tolist(),
            "mean_product_by_distance": means.tolist(),
            "matrix": (unit(centred) @ unit(centred).T).round(3).tolist(),
        },
        counterexamples=lowest_pairs(words.rows[np.stack(upper, axis=1)], labels, -np.abs(cells - fitted)),
    )


def _explained(cells: Floats, diagonal: Ints) -> Floats:
    """(k,) R squared of the means by cyclic diagonal, for (k, m) cells whose m diagonals are numbered."""
    of_diagonal = np.eye(diagonal.max() + 1)[diagonal]
    apart = cells - cells.mean(1, keepdims=True)
    return np.asarray(((apart @ of_diagonal) ** 2 / of_diagonal.sum(0)).sum(1) / (apart**2).sum(1))


def _shuffled(gram: Floats, diagonal: Ints, value: float, rng: np.random.Generator) -> Floats:
    """R squared under other orders of the words; what differs from the true one's by rounding is it."""
    first, second = np.triu_indices(len(gram), 1)
    orders = compared_orders(len(gram), rng)
    blocks = np.array_split(orders, 1 + len(orders) * len(first) // _CELLS)
    draws = np.concatenate([_explained(gram[block[:, first], block[:, second]], diagonal) for block in blocks])
    return np.where(np.abs(draws - value) < _ROUNDING, value, draws)


def _on_circle(centred: Floats, at: Ints, places: int) -> float:
    """Share of the squared lengths of centred vectors that cosine and sine of their places round the circle explain."""
    angles = 2 * np.pi * at / places
    waves = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    plane = np.linalg.qr(waves - waves.mean(0))[0]
    return float(((plane.T @ centred) ** 2).sum() / (centred**2).sum())
