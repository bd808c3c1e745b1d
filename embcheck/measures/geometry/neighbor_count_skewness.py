"""Hubness: do a few rows stand in the neighbor lists of very many others?"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import stats

from embcheck.errors import NotMeasurable
from embcheck.estimate import Details, Estimate, measure
from embcheck.measures import histograms
from embcheck.measures.kernels import blocks
from embcheck.measures.kernels.nearest import nearest
from embcheck.measures.resolve import listed
from embcheck.progress import track
from embcheck.settings import current

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["count_statistics", "gaussian_directions", "neighbor_count_skewness", "raw_moments", "sampled_skewness"]

NEIGHBORS = 10
SAMPLE, SAMPLES = 500, 10
DRAWS = 199
EXACT_ROWS, QUERIES = 8_000, 1_000
_NAMED, _PARTS = 10, 10


@measure
def neighbor_count_skewness(table: EmbeddingTable, *, rng: np.random.Generator) -> Estimate:
    r"""Skewness of N_10, in how many neighbor lists a row stands, within samples of 500 rows.

    :math:`N_k(j)` counts the rows that have j among their k = 10 nearest by cosine; hubs are its right tail
    (Radovanovic, Nanopoulos and Ivanovic, "Hubs in space", JMLR 2010). The estimate is the mean of its skewness over up
    to ten disjoint samples of 500 rows in hash order. Unit: samples; interval: Student t; one sample, exact, where the
    population has fewer than 1,000 rows. The null ``gaussian`` repeats the design on iid Gaussian rows of the same
    width, since noise has hubs too: 199 simulated samples; each draw is the mean of as many of these and the measured
    ones as the estimate has. Details: in how many lists how large a share of the samples' rows stands, and of noise's;
    the figures of the whole vocabulary with its largest hubs named, exact up to 8,000 rows or with ``--probes all``,
    otherwise from 1,000 sampled queries (``sampled_skewness``).

    Raises
    ------
    NotMeasurable
        Fewer than 31 rows, with which lists of 10 say little.
    """
    size = len(table.population)
    if size <= 3 * NEIGHBORS:
        raise NotMeasurable(f"{size} rows are too few for lists of {NEIGHBORS} neighbors; more than 30 are needed")
    order = table.probes(size)
    sample_count = min(SAMPLES, len(order) // SAMPLE) if len(order) >= 2 * SAMPLE else 1
    rows = SAMPLE if sample_count > 1 else len(order)
    with blocks.full_precision():
        samples = [order[i * rows : (i + 1) * rows] for i in range(sample_count)]
        counts = [_counts(table.units(sample)) for sample in samples]
        simulated, noise = _simulate(rows, table.width, table.vectors.device, rng)
    statistics = [count_statistics(n, NEIGHBORS) for n in counts]
    values = [s["skewness"] for s in statistics]
    about: Details = {
        "name": f"skewness of N_{NEIGHBORS}",
        "draws": {"gaussian": simulated if sample_count == 1 else _means(values, simulated, rng)},
        "details": {
            "neighbors": NEIGHBORS,
            "rows_a_sample": rows,
            "in_lists": _distribution(np.concatenate(counts), noise),
            "samples": {name: float(np.mean([s[name] for s in statistics])) for name in statistics[0]},
            **({"whole_vocabulary": _whole(table, order)} if current().details else {}),
        },
    }
    if sample_count == 1:
        return Estimate.exact(values[0], n=rows, unit="rows", **about)
    labels = [_label(table, sample) for sample in samples]
    return Estimate.from_units(values, unit=f"samples of {rows} rows", labels=labels, **about)


def _label(table: EmbeddingTable, sample: Ints) -> str:
    """A name that another sample, or one of another vocabulary, does not have."""
    tokens = [table.token(int(row)) for row in sample]
    digest = hashlib.sha256("\0".join(tokens).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{tokens[0]} and {len(tokens) - 1} more ({digest})"


def _counts(unit: Tensor) -> Ints:
    """N_k of each of n unit rows among themselves."""
    cosine = unit @ unit.T
    cosine.fill_diagonal_(-math.inf)
    lists = cosine.topk(NEIGHBORS, dim=1, sorted=False).indices
    return torch.bincount(lists.flatten(), minlength=len(unit)).cpu().numpy()


def _simulate(rows: int, width: int, device: torch.device, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Skewness of N_k on 199 samples of Gaussian rows, and their N_k."""
    counts = [
        _counts(torch.from_numpy(gaussian_directions(rows, width, rng)).to(device))
        for _ in track(list(range(current().drawn(DRAWS))), "hubness of noise")
    ]
    return np.array([stats.skew(sample) for sample in counts]), np.concatenate(counts)


def _means(values: list[float], simulated: Floats, rng: np.random.Generator) -> Floats:
    """Means of as many samples as were measured, drawn from measured and simulated ones together.

    On noise the two are exchangeable, so the p-value is exact. Means of simulated samples alone would share the error
    of those 199, which is no small part of the spread of ten: 1.3% instead of 1% of noise would pass.
    """
    pooled = np.concatenate([values, simulated])
    return np.array([rng.choice(pooled, len(values), replace=False).mean() for _ in simulated])


def _distribution(counts: Ints, noise: Ints) -> dict[str, list[float]]:
    """Shares of the rows that stand in so many lists; beyond 40 in bins that grow, each named by its first number."""
    top = int(max(counts.max(), noise.max())) + 1
    edges = np.unique(np.concatenate([np.arange(41), np.geomspace(41, max(top, 42), 20).round()])).astype(np.int64)
    edges = np.append(edges[edges < top], top)
    shares = [np.histogram(values, edges)[0] / len(values) for values in (counts, noise)]
    return {
        "from": edges[:-1].tolist(),
        "to": edges[1:].tolist(),
        "share": histograms.rounded(shares[0]),
        "noise": histograms.rounded(shares[1]),
    }


def gaussian_directions(rows: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(rows, at most rows) unit vectors with the mutual cosines of iid directions in ``width`` dimensions.

    Where there are fewer rows than dimensions they are rows of Bartlett's triangle, whose products have the Wishart
    distribution exactly: normal below the diagonal, chi on it. No more than rows x rows numbers are drawn.
    """
    noise = rng.standard_normal((rows, min(rows, width)), dtype=np.float32)
    if width > rows:
        noise = np.tril(noise, -1)
        np.fill_diagonal(noise, np.sqrt(rng.chisquare(width - np.arange(rows))))
    return np.asarray(noise / np.linalg.norm(noise, axis=1, keepdims=True))


def count_statistics(counts: Ints, k: int) -> dict[str, float]:
    r"""Skewness of :math:`N_k`, its Robin Hood index and the share of antihubs.

    The Robin Hood index :math:`\frac{1}{2} \sum_j |N_k(j) - k| / (n k)` is the share of list places that would have
    to be given away for all rows to stand in equally many (Feldbauer et al. 2018); antihubs stand in none.
    """
    return {
        "skewness": float(stats.skew(counts)) if counts.std() > 0 else 0.0,
        "robin_hood": float(np.abs(counts - k).sum() / (2 * k * len(counts))),
        "antihub_share": float((counts == 0).mean()),
    }


def sampled_skewness(counts: Ints, queries: int, k: int) -> float:
    r"""Skewness of :math:`N_k` over n rows, from the lists of some of the n queries, drawn without replacement.

    Made of the moments that ``raw_moments`` estimates without bias.
    """
    squares, cubes = raw_moments(counts, queries, k)
    variance = squares - k**2
    return (cubes - 3 * k * squares + 2 * k**3) / variance**1.5 if variance > 0 else math.nan


def raw_moments(counts: Ints, queries: int, k: int) -> tuple[float, float]:
    r"""Unbiased means of :math:`N_k^2` and :math:`N_k^3` over n rows, from the lists of some of the n queries.

    A row's count among m of n lists is hypergeometric, so its factorial moments are those of :math:`N_k` times
    :math:`m^{\underline{r}} / n^{\underline{r}}`; the spread that sampling adds to the counts drops out. The mean of
    :math:`N_k` is k.
    """
    n, x = len(counts), counts.astype(np.float64)
    grown = n * (n - 1) / (queries * (queries - 1))
    second = grown * float((x * (x - 1)).mean())
    third = grown * (n - 2) / (queries - 2) * float((x * (x - 1) * (x - 2)).mean())
    return second + k, third + 3 * second + k


def _from_sample(lists: Ints, size: int) -> dict[str, float | None]:
    """Skewness from sampled queries, with its standard error from leaving out a tenth of them at a time."""
    counts = np.bincount(lists.ravel(), minlength=size)
    left_out = [
        sampled_skewness(counts - np.bincount(part.ravel(), minlength=size), len(lists) - len(part), NEIGHBORS)
        for part in np.array_split(lists, _PARTS)
    ]
    return {
        "skewness": sampled_skewness(counts, len(lists), NEIGHBORS),
        "standard_error": float(np.std(left_out) * math.sqrt(_PARTS - 1)),
        "robin_hood": None,
        "antihub_share": None,
    }


def _whole(table: EmbeddingTable, order: Ints) -> Details:
    """N_k over all rows: exact, or from sampled queries."""
    size = len(table.population)
    exact = size <= EXACT_ROWS or current().probes == "all"
    queries = table.population if exact else order[:QUERIES]
    lists = nearest(table, queries, NEIGHBORS)
    counts = np.bincount(lists.ravel(), minlength=size)
    largest = np.argsort(-counts, kind="stable")[:_NAMED]
    in_lists = size / len(queries) * counts[largest]
    figures: Details = count_statistics(counts, NEIGHBORS) if exact else _from_sample(lists, size)
    return {
        "rows": size,
        "queries": len(queries),
        "exact": exact,
        **figures,
        "largest_hubs": listed(table, table.population[largest], in_lists=[round(float(n), 1) for n in in_lists]),
    }
