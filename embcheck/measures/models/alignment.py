"""The tokens that two tables share, and how alike the tables are over them, up to rotation and scale."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.errors import NotMeasurable
from embcheck.measures.kernels import blocks
from embcheck.progress import track
from embcheck.table.vocabulary import TokenKind

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.estimate import Details
    from embcheck.stats import Ints
    from embcheck.table import EmbeddingTable

__all__ = ["Alignment", "Similarity", "align", "linear_cka"]


@dataclass(frozen=True, slots=True)
class Alignment:
    """Tokens of two populations that have the same text."""

    first: Ints
    """(N,) row of each shared token in the first table, ascending."""
    second: Ints
    """(N,) and in the second."""
    ambiguous: tuple[int, int]
    """How many texts of either population are left out because several of its rows have them."""
    sizes: tuple[int, int]

    def __len__(self) -> int:
        return len(self.first)

    @property
    def record(self) -> Details:
        """Counts and shares as JSON types."""
        names = ("first", "second")
        return {
            "shared": len(self),
            "share_of_population": {n: len(self) / size for n, size in zip(names, self.sizes, strict=True)},
            "ambiguous": dict(zip(names, self.ambiguous, strict=True)),
        }


def align(tables: tuple[EmbeddingTable, ...], *, words: bool = False) -> Alignment:
    """The tokens of both populations with identical decoded text, case, leading space and all.

    With ``words``, the tokens that begin a word, whether they are written with a leading space or not: tables of unlike
    tokenizers share words under other texts, and under equal ones tokens of another role ("than" begins a word in the
    one, and continues one in the other). A text that several rows of one population have is left out.
    """
    (first, twice), (second, again) = (_rows_of(table, words=words) for table in tables)
    shared = [(row, second[text]) for text, row in first.items() if text in second]
    if not shared:
        what = "word" if words else "token"
        raise NotMeasurable(f"no {what} of the one vocabulary is written exactly as one of the other")
    rows = np.array(shared, dtype=np.int64)
    sizes = (len(tables[0].population), len(tables[1].population))
    return Alignment(rows[:, 0].copy(), rows[:, 1].copy(), (twice, again), sizes)


def _rows_of(table: EmbeddingTable, *, words: bool) -> tuple[dict[str, int], int]:
    """Row of each text that one row of the population has, in order of rows; and how many texts more of them have.

    Rows past the vocabulary have no text of their own.
    """
    rows = table.of_kind(TokenKind.WORD_START) if words else table.population
    named = rows[rows < len(table.tokens)].tolist()
    texts = [table.token(row).strip() if words else table.token(row) for row in named]
    counts = Counter(texts)
    once = {text: row for text, row in zip(texts, named, strict=True) if counts[text] == 1}
    return once, len(counts) - len(once)


# --- how alike they are: linear CKA -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Similarity:
    """Linear CKA, and its mean and standard deviation over all alignments of the same rows."""

    value: float
    shuffled_mean: float
    shuffled_deviation: float


@dataclass(frozen=True, slots=True)
class _Side:
    """Of the Gram matrix K of centred rows: trace, squared Frobenius norm, sum of the squared diagonal."""

    trace: float
    squares: float
    diagonal: float

    @property
    def participation(self) -> float:
        return self.trace**2 / self.squares


def linear_cka(tables: tuple[EmbeddingTable, ...], shared: Alignment) -> Similarity:
    r"""Linear centred kernel alignment over N shared tokens, with its null in closed form.

    :math:`|Y^T X|_F^2 / (|X^T X|_F |Y^T Y|_F)` of the rows as stored, centred over the shared tokens (Kornblith et al.,
    "Similarity of Neural Network Representations Revisited", 2019); 1 for a table and its rotation, and NaN where all
    rows of one are equal. It is not zero for unrelated tables: over all N! alignments its mean is
    :math:`\sqrt{\beta_x \beta_y} / (N - 1)`, with the participation ratio :math:`\beta = (tr K)^2 / tr K^2` of either
    side; mean and variance are those of the RV coefficient (Kazi-Aoual et al. 1995; Josse, Pages and Husson 2008).

    One pass for the means, one for the moments: three d x d matrices in the accumulator's dtype, products of blocks in
    float32 on the first table's device. N is at least 4.
    """
    x, y, cross = _moments(tables, shared)
    if min(x.squares, y.squares) <= 0:
        return Similarity(math.nan, math.nan, math.nan)
    return Similarity(cross / math.sqrt(x.squares * y.squares), *_shuffled(x, y, len(shared)))


def _moments(tables: tuple[EmbeddingTable, ...], shared: Alignment) -> tuple[_Side, _Side, float]:
    """Either table's Gram matrix, and the squared Frobenius norm of the product of both tables' centred rows."""
    sides = list(zip(tables, (shared.first, shared.second), strict=True))
    centers = [_center(table, rows) for table, rows in sides]
    device, dtype, widths = tables[0].vectors.device, tables[0].accumulator, [table.width for table in tables]
    sums = {
        (i, j): torch.zeros((widths[i], widths[j]), dtype=dtype, device=device) for i, j in ((0, 0), (0, 1), (1, 1))
    }
    rests = [torch.zeros(width, dtype=dtype, device=device) for width in widths]
    fourth = [0.0, 0.0]
    wider = max(tables, key=lambda table: table.width)
    with blocks.full_precision():
        for part in track(list(wider.slices(len(shared))), "shared tokens"):
            rows = [  # about the mean, of length 2 at most: their squares stay inside the floats' range
                ((table.gather(ids[part]) - center) / longest).to(device)
                for (table, ids), (center, longest) in zip(sides, centers, strict=True)
            ]
            for i, j in sums:
                sums[i, j] += rows[i].T @ rows[j]
            for i, block in enumerate(rows):
                rests[i] += block.sum(0, dtype=dtype)
                fourth[i] += float((block.to(dtype) ** 2).sum(1).square().sum())
    exact = {(i, j): sums[i, j] - torch.outer(rests[i], rests[j]) / len(shared) for i, j in sums}
    x, y = (_Side(float(exact[i, i].trace()), float(exact[i, i].square().sum()), fourth[i]) for i in (0, 1))
    return x, y, float(exact[0, 1].square().sum())


def _center(table: EmbeddingTable, rows: Ints) -> tuple[Tensor, float]:
    """(d,) mean of the rows, float32, and the largest of their lengths."""
    longest = float(table.norms[torch.from_numpy(rows).to(table.vectors.device)].max())
    return blocks.mean_vector(table, rows), longest


def _shuffled(x: _Side, y: _Side, n: int) -> tuple[float, float]:
    """Mean and standard deviation of the RV coefficient over all n! ways to align the rows of two matrices."""
    bx, by = x.participation, y.participation
    tx, ty = (n * (n + 1) * s.diagonal / s.squares - (n - 1) * (s.participation + 2) for s in (x, y))
    kurtosis = (n - 1) / (2 * n * (n - 3)) * tx * ty
    variance = 2 * ((n - 1 - bx) * (n - 1 - by) + kurtosis) / ((n + 1) * (n - 1) ** 2 * (n - 2))
    return math.sqrt(bx * by) / (n - 1), math.sqrt(max(0.0, variance))
