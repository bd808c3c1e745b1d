"""Background similarity: what do pairs of tokens look like that have nothing to do with each other?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.errors import NotMeasurable
from embcheck.estimate import Details, Estimate, measure
from embcheck.measures import histograms
from embcheck.measures.cosines.non_negative_share import rayleigh
from embcheck.measures.kernels import blocks
from embcheck.measures.kernels.probes import Probes
from embcheck.settings import current

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["against_all", "background_cosine"]

PAIRS, PROBES = 5_000, 200
THRESHOLDS = (0.2, 0.5)
LEVELS = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
_BINS = 4_000
_COUNTED = 2**18  # cells of a product that are counted at once: inside the cache of a CPU core
_SHORTEST = 1e-34  # of distances, whose inverse times the bins is a float32
_CHUNK = 1_000


@measure
def background_cosine(table: EmbeddingTable) -> Estimate:
    r"""Root mean square cosine of pairs of rows, in units of what random directions have.

    :math:`\sqrt{d \, \overline{\cos^2(x_i, x_j)}}` over all pairs: 1 for directions drawn at random in d dimensions,
    whose cosines have mean 0 and standard deviation :math:`1 / \sqrt{d}`, and :math:`\sqrt{d}` where all rows lie on
    one line, to either side. With the unit rows U it comes from :math:`\sum_{ij} \cos^2 = |U^\top U|^2`, in O(N d^2):
    every pair counts, exact. The effect is the mean cosine, over all pairs too. Details: of 5,000 random pairs, or as
    many as there are with no row in two of them, a histogram of cosines; quantiles of cosine and Euclidean distance,
    over these pairs and over 200 probe tokens against every other row, and the percentile at which a cosine of 0.2 and
    one of 0.5 stand. The 5,000 pairs, 0.2 and 0.5 are those of the notebook "Word Embeddings: From Tokens to Geometry"
    (2026), section 4.

    Raises
    ------
    NotMeasurable
        Fewer than four rows in the population, which make no two pairs.
    """
    drawn = table.probes(2 * current().sampled(PAIRS))
    count = len(drawn) // 2
    if count < 2:
        raise NotMeasurable(f"{len(drawn)} rows make {count} disjoint pairs; at least 2 are needed")
    pairs = drawn[: 2 * count].reshape(count, 2)
    cosines, distances = _of_pairs(table, pairs)
    scale, mean = math.sqrt(table.width), rayleigh(table)["mean_cosine"]
    return Estimate.exact(
        scale * math.sqrt(_mean_square(table)),
        n=len(table.population),
        unit="rows",
        name="root mean square cosine, times the square root of the width",
        effect={"name": "mean cosine", "value": mean},
        details={
            "cosine_of_noise": {"mean": 0.0, "sd": 1 / scale},
            "cosine_histogram": histograms.of_values(cosines),
            "distance_histogram": histograms.of_values(distances),
            "exact_mean_cosine": mean,
            "levels": list(LEVELS),
            "pairs": {
                "cosine": _spread(cosines),
                "distance": _spread(distances),
                "percentile": {str(t): 100 * float((cosines < t).mean()) for t in THRESHOLDS},
            },
            **({"probes": against_all(table, table.probes(PROBES))} if current().details else {}),
        },
        counterexamples=_farthest_from_orthogonal(table, pairs, cosines),
    )


def _mean_square(table: EmbeddingTable) -> float:
    """Mean squared cosine over all pairs of two rows: each row's own, 1, is left out."""
    size, gram = len(table.population), blocks.total(table, _gram)
    return max(0.0, float((gram**2).sum()) - size) / (size * (size - 1))


def _gram(part: EmbeddingTable) -> Tensor:
    """(d, d) products of the columns of the population's unit rows."""
    gram = torch.zeros((), dtype=part.accumulator, device=part.vectors.device)
    with blocks.full_precision():
        for _, unit in blocks.blocks(part):
            gram = gram + (unit.T @ unit).to(part.accumulator)
    return gram


def _of_pairs(table: EmbeddingTable, pairs: Ints) -> tuple[Floats, Floats]:
    """Cosine and Euclidean distance of each pair of rows."""
    cosines, distances = [], []
    for start in range(0, len(pairs), _CHUNK):
        rows = pairs[start : start + _CHUNK]
        first, second = (table.gather(rows[:, side]).to(table.accumulator) for side in (0, 1))
        cosines.append(torch.cosine_similarity(first, second, dim=1, eps=1e-30))
        distances.append(torch.linalg.vector_norm(first - second, dim=1))
    return torch.cat(cosines).cpu().double().numpy(), torch.cat(distances).cpu().double().numpy()


def _names(table: EmbeddingTable, pair: Ints) -> str:
    return " | ".join(table.token(int(row)) for row in pair)


def _spread(values: Floats) -> Details:
    return {
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)),
        "quantiles": np.quantile(values, LEVELS).tolist(),
    }


def against_all(table: EmbeddingTable, probes: Ints) -> Details:
    """Cosines and distances of probe tokens to every other row: quantiles, and percentiles of two thresholds.

    Quantiles are read off histograms of 4,000 bins, interpolated inside a bin.
    """
    longest = (blocks.lengths(table, rows).max() for rows in (probes, table.population))
    reach = float(sum(longest))
    counts = blocks.total(table, _count_against, Probes.of(table, probes), reach).cpu().numpy()
    cosines, distances, below = counts[:_BINS], counts[_BINS : 2 * _BINS], counts[2 * _BINS :]
    total = len(probes) * (len(table.population) - 1)
    return {
        "probes": len(probes),
        "cosine": _read_off(cosines, -1, 1),
        "distance": _read_off(distances, 0, reach),
        "percentile": {str(t): 100 * int(n) / total for t, n in zip(THRESHOLDS, below, strict=True)},
    }


def _count_against(part: EmbeddingTable, probes: Probes, reach: float) -> Tensor:
    """Counts of probes' cosines with, and distances to, the population's rows, in bins; of cosines below thresholds."""
    device, own = part.vectors.device, probes.places(part)
    counts = torch.zeros(2 * _BINS + len(THRESHOLDS), dtype=torch.int64, device=device)
    length, lengths = blocks.lengths(part, part.population), probes.norms.float()[:, None].to(device)
    with blocks.full_precision():
        for some, tile in blocks.tiles(part, probes.units().to(device), own, own=1.0):
            few = max(1, _COUNTED // tile.shape[1]) if device.type == "cpu" else len(tile)
            for cosine, one in zip(torch.split(tile, few), torch.split(lengths, few), strict=True):
                squared = one**2 + length[some] ** 2 - 2 * one * length[some] * cosine
                below = torch.stack([(cosine < threshold).sum() for threshold in THRESHOLDS])
                distances = _binned(squared.clamp_(min=0).sqrt_().mul_(_BINS / max(reach, _SHORTEST)))
                counts += torch.cat([_binned(cosine.add_(1).mul_(_BINS / 2)), distances, below])
    met = int((own >= 0).sum())  # themselves, at a cosine of 1 and no distance
    counts[_BINS - 1] -= met
    counts[_BINS] -= met
    return counts


def _binned(values: Tensor) -> Tensor:
    """Counts of values from 0 to the number of bins."""
    return torch.bincount(values.clamp_(0, _BINS - 1).int().flatten(), minlength=_BINS)


def _read_off(counts: Ints, low: float, high: float) -> Details:
    """Quantiles of a histogram over [low, high]."""
    edges = np.linspace(low, high, _BINS + 1)
    cumulative = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
    return {"quantiles": np.interp(LEVELS, cumulative, edges).tolist()}


def _farthest_from_orthogonal(table: EmbeddingTable, pairs: Ints, cosines: Floats) -> list[Details]:
    """The pairs that weigh most against the claim: those with the largest cosines, whatever the sign."""
    order = np.argsort(-np.abs(cosines), kind="stable")[:10]
    return [{"ids": pairs[i].tolist(), "token": _names(table, pairs[i]), "value": float(cosines[i])} for i in order]
