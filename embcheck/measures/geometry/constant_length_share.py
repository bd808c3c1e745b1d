"""Normalisation: are the rows of one length, are the column means zero, and how do lengths depart from noise?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from embcheck.estimate import Details, Estimate, measure
from embcheck.measures import histograms
from embcheck.measures.kernels import blocks
from embcheck.measures.resolve import listed, tokens_part
from embcheck.settings import current
from embcheck.table.vocabulary import RowStatus, TokenKind

if TYPE_CHECKING:
    from embcheck.stats import Floats
    from embcheck.table import EmbeddingTable

__all__ = ["chi_departure", "constant_length_share"]

SLICE = 40, 64  # rows and columns
LEVELS = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)
_MEAN_KS = math.sqrt(math.pi / 2) * math.log(2)  # mean of Kolmogorov's limiting distribution


@measure
def constant_length_share(
    table: EmbeddingTable, *, length: float | None = None, tolerance: float = 0.01, mean_tolerance: float = 0.05
) -> Estimate:
    r"""Share of the population's rows that have one length, within a tolerance: that of the median row, or a given one.

    :math:`\#\{i : | |x_i| / L - 1 | \le \tau\} / N`. Every row is measured: exact. The effect is the share at length 1,
    which is what the notebook "Word Embeddings: From Tokens to Geometry" (2026), section 3, asks for, with the same
    tolerances: a matrix normalised and then scaled has no row there. Details: a histogram and quantiles of the lengths
    by token class and of the rows left out; column means against ``mean_tolerance``; the departure of the lengths from
    the chi distribution.

    Parameters
    ----------
    length
        The length L to count; by default the rows' median.
    tolerance
        How far from L a length may be, as a share of it.
    mean_tolerance
        How far from 0 a column's mean may be.
    """
    population = table.population
    norms = table.norms.cpu().double().numpy()
    counted = float(np.median(norms[population])) if length is None else length
    distance = np.abs(norms[population] / counted - 1)
    alike, unit = distance <= tolerance, np.abs(norms[population] - 1) <= tolerance
    nearest = population[alike][np.argsort(distance[alike], kind="stable")[:10]]
    return Estimate.exact(
        float(alike.mean()),
        n=len(population),
        unit="rows",
        name=f"share of rows of {'the median' if length is None else 'a given'} length",
        parts=(tokens_part(table, population, alike),),
        effect={"name": "share of rows of length 1", "value": float(unit.mean())},
        details={
            "length": counted,
            "unit_length": bool(unit.all()),
            "mean_norm": float(norms[population].mean()),
            "norm_sd": float(norms[population].std()),
            "norm_histogram": histograms.of_values(norms[population]),
            "norm_quantiles": _by_class(table, norms),
            "columns": _columns(table, mean_tolerance),
            "chi": chi_departure(norms[population], table.width),
            **({"slice": _slice(table)} if current().details else {}),
        },
        counterexamples=listed(table, nearest, value=norms[nearest]),
    )


def _by_class(table: EmbeddingTable, norms: Floats) -> Details:
    """Quantiles of the lengths of each token class of the population, and of each reason for being left out."""
    groups = {kind.name.lower(): table.of_kind(kind) for kind in TokenKind}
    outside = np.flatnonzero(~table.in_population)
    for reason in RowStatus:
        if reason not in {RowStatus.KNOWN, RowStatus.NON_FINITE, RowStatus.ZERO}:
            groups[f"left out: {reason.name.lower()}"] = outside[table.status[outside] == reason]
    quantiles: Details = {"levels": list(LEVELS), "all": _quantiles(norms[table.population])}
    for name, rows in groups.items():
        if len(rows):
            quantiles[name] = {"rows": len(rows), **_quantiles(norms[rows])}
    return quantiles


def _quantiles(norms: Floats) -> Details:
    finite = norms[np.isfinite(norms)]
    return {"norms": np.quantile(finite, LEVELS).tolist() if len(finite) else None}


def _columns(table: EmbeddingTable, tolerance: float) -> Details:
    means = blocks.mean_vector(table).cpu().double().numpy()
    largest = int(np.abs(means).argmax())
    return {
        "tolerance": tolerance,
        "within_tolerance": float((np.abs(means) <= tolerance).mean()),
        "zero_mean": bool((np.abs(means) <= tolerance).all()),
        "histogram": histograms.of_values(means),
        "largest": {"column": largest, "mean": float(means[largest])},
        "root_mean_square": float(np.sqrt(np.mean(means**2))),
        "mean_vector_norm": float(np.linalg.norm(means)),
    }


def _slice(table: EmbeddingTable) -> Details:
    """The first columns of some rows, as they are stored: a look at the matrix."""
    rows = table.probes(SLICE[0])
    values = table.gather(rows)[:, : SLICE[1]].cpu().double().numpy()
    return {"tokens": [table.token(int(row)) for row in rows], "values": [histograms.rounded(row, 3) for row in values]}


def chi_departure(norms: Floats, width: int) -> dict[str, float]:
    r"""How far lengths are from those of iid Gaussian rows of the same scale.

    With :math:`\sigma^2 = \overline{|x|^2} / d`, the lengths of such rows over :math:`\sigma` follow the chi
    distribution with d degrees of freedom. Kolmogorov-Smirnov distance to it, what noise would have on average
    (:math:`\sqrt{\pi/2} \ln 2 / \sqrt{N}`), and both coefficients of variation.
    """
    scale = math.sqrt(float(np.mean(norms**2)) / width)
    expected = stats.chi.cdf(np.sort(norms) / scale, width)
    steps = np.arange(len(norms) + 1) / len(norms)
    distance = max(float((steps[1:] - expected).max()), float((expected - steps[:-1]).max()))
    return {
        "scale": scale,
        "ks_distance": distance,
        "ks_distance_of_noise": _MEAN_KS / math.sqrt(len(norms)),
        "variation": float(norms.std() / norms.mean()),
        "variation_of_noise": float(stats.chi.std(width) / stats.chi.mean(width)),
    }
