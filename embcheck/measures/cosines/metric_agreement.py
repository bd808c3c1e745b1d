"""Metric agreement: do cosine and Euclidean distance rank a token's neighbors alike?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import stats

from embcheck.errors import NotMeasurable
from embcheck.estimate import Details, Estimate, measure
from embcheck.measures import histograms
from embcheck.measures.kernels import blocks
from embcheck.measures.kernels.nearest import nearest
from embcheck.measures.resolve import lowest
from embcheck.settings import current

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["metric_agreement"]

PROBES, OTHERS = 1_000, 200
TOP, TOP_PROBES = 10, 200
_CELLS = 2**22  # numbers gathered at once


@measure
def metric_agreement(table: EmbeddingTable) -> Estimate:
    r"""Mean rank correlation, over probe tokens, of cosine and negated Euclidean distance to other tokens.

    Per probe, Spearman's correlation over 200 other rows of its own, freed of a sample's bias; 1,000 probes, in hash
    order. Unit: probe tokens; interval: Student t. Up to 1,000 rows every row is compared with all others: exact. On
    rows of unit length :math:`|a - b|^2 = 2 - 2 \cos(a, b)` and the two agree entirely, so all disagreement is due to
    lengths; the effect is that share, measured. Details: the same correlation on unit rows, that of distance with the
    other row's length, the points of the probe whose agreement is the median one, and the overlap of the ten nearest by
    either over the whole population, for 200 probes. The comparison is that of the notebook "Word Embeddings: From
    Tokens to Geometry" (2026), section 8c.

    Raises
    ------
    NotMeasurable
        Fewer than four rows in the population, or one whose cosines or distances are all equal.
    """
    order = table.probes(len(table.population))
    size = len(order)
    if size < 4:
        raise NotMeasurable(f"{size} rows have too few others to rank; at least 4 are needed")
    probes = order[: current().sampled(PROBES)]
    others = _others(order, len(probes))
    rows = [_correlations(table, probes[part], others[part]) for part in _parts(len(probes), others.shape[1], table)]
    raw, length = np.concatenate(rows, axis=1)
    value, unit = float(raw.mean()), _at_unit_length(table, probes[:TOP_PROBES], others)
    return Estimate.from_units(
        raw,
        unit="probe tokens",
        over_probes=True,
        labels=[table.token(int(row)) for row in probes],
        population=size if size <= PROBES else None,
        bounds=(-1.0, 1.0),
        name="rank correlation of cosine and Euclidean neighbors",
        effect={
            "name": "share of the disagreement that lengths explain",
            "value": (unit - value) / (1 - value) if value < 1 - 1e-6 else None,
        },
        details={
            "others": others.shape[1],
            "at_unit_length": unit,
            "distance_with_length": float(length.mean()),
            "quantiles": dict(zip(("5%", "50%", "95%"), np.quantile(raw, (0.05, 0.5, 0.95)).tolist(), strict=True)),
            "scatter": _scatter(table, probes, others, raw),
            **({"top": _overlap(table, probes[:TOP_PROBES])} if current().details else {}),
        },
        counterexamples=lowest(table, probes, raw, norm=table.norms.cpu().double().numpy()[probes]),
    )


def _others(order: Ints, count: int) -> Ints:
    """For each of the first ``count`` rows, others to rank: all where there are few, else the next 200 in a ring."""
    size = len(order)
    each = min(OTHERS, size - 1) if size > PROBES else size - 1
    places = np.arange(count)[:, None]
    ring = (count + places * each + np.arange(each + 1)) % size  # one more, in case the row itself is among them
    keep = ring != places
    keep[keep.all(1), -1] = False
    return np.asarray(order[ring[keep].reshape(count, each)])


def _parts(count: int, others: int, table: EmbeddingTable) -> list[slice]:
    step = max(1, _CELLS // (others * max(table.width, others)))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def _correlations(table: EmbeddingTable, probes: Ints, others: Ints) -> Floats:
    """(2, m): Spearman's correlation of cosine with nearness, and of distance with the others' length."""
    a = table.gather(probes).to(table.accumulator)[:, None]
    b = table.gather(others.ravel()).to(table.accumulator).reshape(*others.shape, table.width)
    own, length = (torch.linalg.vector_norm(rows, dim=2) for rows in (a, b))
    cosine = (b @ a.mT)[..., 0] / (own * length)
    distance = torch.linalg.vector_norm(a - b, dim=2)
    size = len(table.population) - 1
    return np.stack([_spearman(cosine, -distance, size), _spearman(distance, length, size)])


def _spearman(x: Tensor, y: Tensor, size: int) -> Floats:
    r"""(m,) rank correlation over ``size`` others, of which each row of x and y, (m, n), is a sample.

    A sample's correlation r is biased towards Kendall's :math:`\tau`: its mean is
    :math:`((n - 2) A + 3 \tau) / (n + 1)` with some A, and so it is for all others (Moran 1948). Solved for A with the
    sample's own :math:`\tau`, which has no bias.
    """
    n = x.shape[1]
    rho = _cosine(_ranks(x), _ranks(y))
    if n == size:
        return rho
    tau = _kendall(x, y)
    corrected = ((size - 2) * ((n + 1) * rho - 3 * tau) / (n - 2) + 3 * tau) / (size + 1)
    return np.clip(corrected, -1, 1)


def _kendall(x: Tensor, y: Tensor) -> Floats:
    """(m,) Kendall's tau of each row: the share of concordant pairs less that of discordant ones."""
    first, second = ((v[:, :, None] - v[:, None]).sign_().float() for v in (x, y))
    n = x.shape[1]
    concordant = first.mul_(second).sum((1, 2)).cpu().double().numpy()  # a whole number
    return np.asarray(concordant / (n * (n - 1)))


def _at_unit_length(table: EmbeddingTable, probes: Ints, others: Ints) -> float:
    """Mean correlation of cosine with nearness after scaling all rows to length 1."""
    correlations = []
    for part in _parts(len(probes), others.shape[1], table):
        rest = others[: len(probes)][part]
        a = table.units(probes[part]).to(table.accumulator)[:, None]
        b = table.units(rest.ravel()).to(table.accumulator).reshape(*rest.shape, table.width)
        cosine, distance = (b @ a.mT)[..., 0], torch.linalg.vector_norm(a - b, dim=2)
        correlations.append(_cosine(_ranks(cosine), -_ranks(distance)))
    return float(np.concatenate(correlations).mean())


def _ranks(values: Tensor) -> Floats:
    """Ranks along each row, about their mean."""
    ranks = stats.rankdata(values.cpu().double().numpy(), axis=1)
    return np.asarray(ranks - ranks.mean(1, keepdims=True))


def _cosine(x: Floats, y: Floats) -> Floats:
    spread = np.sqrt((x**2).sum(1) * (y**2).sum(1))
    return np.asarray(np.divide((x * y).sum(1), spread, out=np.full(len(x), np.nan), where=spread > 0))


def _scatter(table: EmbeddingTable, probes: Ints, others: Ints, values: Floats) -> Details:
    """Cosine and distance of the probe with the median correlation to at most 200 of its others, and their lengths."""
    median = int(np.argsort(values, kind="stable")[len(values) // 2])
    chosen = others[median][:OTHERS]
    a, b = (table.gather(rows).to(table.accumulator) for rows in (probes[median : median + 1], chosen))
    drawn = {
        "cosine": torch.cosine_similarity(a, b, dim=1, eps=1e-30),
        "distance": torch.linalg.vector_norm(a - b, dim=1),
        "norm": torch.linalg.vector_norm(b, dim=1),
    }
    return {
        "probe": table.token(int(probes[median])),
        "probe_norm": float(torch.linalg.vector_norm(a)),
        "correlation": float(values[median]),
        "tokens": [table.token(int(row)) for row in chosen],
        **{name: histograms.rounded(column.cpu().double().numpy()) for name, column in drawn.items()},
    }


def _overlap(table: EmbeddingTable, probes: Ints) -> Details:
    """How many of a probe's ten nearest by cosine are also among its ten nearest by distance."""
    k = min(TOP, len(table.population) - 1)
    by_cosine, by_distance = (nearest(table, probes, k, by=by) for by in ("cosine", "distance"))
    shared = [len(np.intersect1d(a, b)) / k for a, b in zip(by_cosine, by_distance, strict=True)]
    norms, own = blocks.lengths(table, table.population).cpu().numpy(), blocks.lengths(table, probes).cpu().numpy()
    return {
        "probes": len(probes),
        "k": k,
        "overlap": float(np.mean(shared)),
        "overlap_by_chance": k / (len(table.population) - 1),
        "shorter_than_probe": {
            "cosine": float((norms[by_cosine] < own[:, None]).mean()),
            "distance": float((norms[by_distance] < own[:, None]).mean()),
        },
    }
