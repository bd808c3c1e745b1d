"""Eigenvalues of the rows' second moments, about their mean and about zero, and what noise of the same shape has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from embcheck.errors import NotMeasurable
from embcheck.measures.kernels import blocks
from embcheck.progress import track

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.stats import Floats
    from embcheck.table import EmbeddingTable

__all__ = ["Spectrum", "entropy_rank", "haar", "marchenko_pastur", "needed_for", "participation_ratio", "spectrum_of"]

_GRID = 20_000
_SHORT = 1e-18  # float32 has all its digits down to 1e-38, the square of a tenth of this


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Second moments of N rows of width d; both matrices are float64, in the host's memory."""

    mean: Floats
    covariance: Tensor  # (d, d), divided by N
    centred: Floats  # eigenvalues of the covariance, largest first
    leading: Tensor  # unit eigenvector to the largest of them, its largest entry positive
    raw: Floats  # eigenvalues of the second moments about zero, largest first
    axes: Tensor  # (d, d) eigenvectors to them, in columns


def spectrum_of(table: EmbeddingTable) -> Spectrum:
    """The population's spectrum, found once a table: one pass for the mean, one for the d x d moments."""
    if "spectrum" not in table.memo:
        if float(blocks.lengths(table, table.population).max()) < _SHORT:
            raise NotMeasurable("rows are so short that squares of their coordinates have no float")
        mean, covariance = _moments(table)
        if not bool(torch.isfinite(covariance).all()):
            raise NotMeasurable("a row is so long that squares of its coordinates have no float")
        raw, axes = torch.linalg.eigh(covariance + torch.outer(mean, mean))
        centred, directions = torch.linalg.eigh(covariance)
        leading = directions[:, -1]
        table.memo["spectrum"] = Spectrum(
            mean.numpy(),
            covariance,
            centred.flip(0).clamp(min=0).numpy(),
            leading * leading[leading.abs().argmax()].sign(),
            raw.flip(0).clamp(min=0).numpy(),
            axes.flip(1),
        )
    return cast("Spectrum", table.memo["spectrum"])


def _moments(table: EmbeddingTable) -> tuple[Tensor, Tensor]:
    """Mean and covariance, float64. Products are float32, of rows near zero mean; sums are in the accumulator."""
    center, size = blocks.mean_vector(table), len(table.population)
    moments = blocks.total(table, _scatter, center).cpu().double() / size
    rest, scatter = moments[0], moments[1:]  # what rounding left of the mean
    covariance = scatter - torch.outer(rest, rest)
    return center.cpu().double() + rest, (covariance + covariance.T) / 2


def _scatter(part: EmbeddingTable, center: Tensor) -> Tensor:
    """(1 + d, d): sum of the rows less a vector, and of their outer products."""
    population, width, center = part.population, part.width, center.to(part.vectors.device)
    sums = torch.zeros((1 + width, width), dtype=part.accumulator, device=center.device)
    with blocks.full_precision():
        for some in track(list(part.slices(len(population))), "covariance"):
            rows = part.gather(population[some]) - center
            sums[0] += rows.sum(0, dtype=part.accumulator)
            sums[1:] += (rows.T @ rows).to(part.accumulator)
    return sums


def participation_ratio(eigenvalues: Floats) -> float:
    r""":math:`(\sum \lambda)^2 / \sum \lambda^2`: d where all are equal, 1 where one has everything."""
    return float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())


def entropy_rank(eigenvalues: Floats) -> float:
    r""":math:`\exp(-\sum p \ln p)` of :math:`p = \lambda / \sum \lambda` (Roy and Vetterli 2007)."""
    p = eigenvalues[eigenvalues > 0] / eigenvalues.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def needed_for(eigenvalues: Floats, share: float) -> int:
    """How many of the largest eigenvalues it takes to reach a share of their sum."""
    reached = np.cumsum(eigenvalues) / eigenvalues.sum()
    return min(int(np.searchsorted(reached, share - 1e-12)) + 1, len(eigenvalues))


def marchenko_pastur(rows: int, width: int) -> Floats:
    r"""(d,) eigenvalues that the covariance of N iid rows with unit variances has for large N and d, largest first.

    Quantiles of the Marchenko-Pastur distribution with ratio :math:`\gamma = d / N`: density
    :math:`\sqrt{(b - x)(x - a)} / (2 \pi \gamma x)` between :math:`a, b = (1 \mp \sqrt\gamma)^2`; where
    :math:`\gamma > 1` the others are zero (Marchenko and Pastur 1967).
    """
    ratio = width / rows
    low, high = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
    angle = (np.arange(_GRID) + 0.5) * np.pi / _GRID  # x = centre + radius cos(angle) smooths both square-root edges
    x = (low + high) / 2 + (high - low) / 2 * np.cos(angle)
    mass = np.cumsum(np.sin(angle) ** 2 / x)  # from the largest down
    rank = min(rows, width)
    levels = (np.arange(rank) + 0.5) / rank
    return np.concatenate([np.interp(levels, mass / mass[-1], x), np.zeros(width - rank)])


def haar(rows: int, columns: int, rng: np.random.Generator) -> Floats:
    """A uniform (rows, columns) frame of orthonormal columns.

    It is the Q of a Gaussian matrix, signed by the diagonal of R (Mezzadri 2007).
    """
    q, r = np.linalg.qr(rng.standard_normal((rows, columns)))
    return np.asarray(q * np.sign(np.diag(r)))
