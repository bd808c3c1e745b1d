"""Norm and frequency: are the rows of common words longer?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import stats

from embcheck.errors import NotMeasurable
from embcheck.estimate import Estimate, part
from embcheck.measures import histograms
from embcheck.measures.geometry.word_counts import counted
from embcheck.settings import current
from embcheck.stats.intervals import jackknife_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embcheck.measures.geometry.word_counts import Counted
    from embcheck.table import EmbeddingTable

__all__ = ["norm_frequency_correlation", "spearman_jackknife"]

WORDS, ENOUGH = 1_000, 20
_BANDS, _DRAWN = 10, 300


def norm_frequency_correlation(table: EmbeddingTable, *, frequency: str = "id") -> Estimate:
    r"""Spearman's correlation between a word's vector length and how frequent the word is.

    Over at most 1,000 tokens that begin a word, in hash order. Unit: words; interval: delete-one-word jackknife-t.
    Frequency is measured (``"wordfreq"``, or a file of counts), or read off the row id (``"id"``): a proxy, good where
    a tokenizer numbers its tokens by frequency and worthless where it numbers them otherwise. Details hold the first
    300 words as points to draw. Asked for by the notebook "Word Embeddings: From Tokens to Geometry" (2026), suggested
    extensions.

    Parameters
    ----------
    frequency
        ``"id"``, ``"wordfreq"`` (the package's English frequencies), or the path of a ``.json`` object or ``.tsv``
        table of token and count.

    Raises
    ------
    NotMeasurable
        Fewer than 20 words with a frequency, all rows of one length, no package wordfreq.
    UsageError
        The file can't be read.
    """
    found = counted(table, frequency, current().sampled(WORDS))
    n = len(found.rows)
    if n < ENOUGH:
        raise NotMeasurable(f"{n} words have a frequency ({frequency}); at least {ENOUGH} are needed")
    norms = table.norms[torch.from_numpy(found.rows).to(table.vectors.device)].cpu().double().numpy()
    rounding = max(torch.finfo(t).eps for t in (table.vectors.dtype, torch.float32))
    if norms.max() - norms.min() <= rounding * norms.max():
        raise NotMeasurable(f"all rows have the same length, {norms.mean():.6g}")
    if len(np.unique(found.frequency)) < 2:
        raise NotMeasurable("all words have the same frequency")
    value, replicates = spearman_jackknife(norms, found.frequency)
    if not np.isfinite(replicates).all():
        raise NotMeasurable("all words but one have the same frequency or the same length")
    level = current().confidence_level
    low, high, pseudo = jackknife_interval(value, replicates, level)
    return Estimate(
        value,
        max(low, -1.0),
        min(high, 1.0),
        level,
        "jackknife-t over words",
        n,
        "words",
        name=f"rank correlation of length and frequency ({found.source})",
        units=pseudo,
        parts=(part([table.token(int(row)) for row in found.rows], pseudo, pseudo=True),),
        details=_details(table, found, norms),
        counterexamples=_against(table, found, norms),
    )


def spearman_jackknife(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Spearman's correlation of n pairs (ties share their mean rank), and its n delete-one replicates."""
    ranks = [stats.rankdata(v) for v in (x, y)]
    # without one value, the ranks above it fall by 1 and those tied with it by one half
    left_out = [r - (r > r[:, None]) - 0.5 * (r == r[:, None]) for r in ranks]
    for deleted in left_out:
        np.fill_diagonal(deleted, 0.0)
    n = len(x) - 1
    mean = (n + 1) / 2
    a, b = left_out
    covariance = (a * b).sum(1) - n * mean**2
    spread = ((a**2).sum(1) - n * mean**2) * ((b**2).sum(1) - n * mean**2)
    replicates: NDArray[np.float64] = np.divide(
        covariance, np.sqrt(spread), out=np.full(n + 1, np.nan), where=spread > 0
    )
    x_rank, y_rank = (r - r.mean() for r in ranks)
    value = float((x_rank * y_rank).sum() / np.sqrt((x_rank**2).sum() * (y_rank**2).sum()))
    return value, replicates


def _details(table: EmbeddingTable, found: Counted, norms: NDArray[np.float64]) -> dict[str, Any]:
    order = np.argsort(-found.frequency, kind="stable")
    bands = np.array_split(order, min(_BANDS, len(order)))
    return {
        "summary": found.note,
        "source": found.source,
        "asked": found.asked,
        "words_of_the_vocabulary": found.candidates,
        "mean_norm_by_frequency_band": [float(norms[band].mean()) for band in bands],  # most frequent first
        "most_frequent": [table.token(int(found.rows[i])) for i in order[:5]],
        "least_frequent": [table.token(int(found.rows[i])) for i in order[-5:]],
        "points": {
            "tokens": [table.token(int(row)) for row in found.rows[:_DRAWN]],
            "frequency_percentile": histograms.rounded(100 * stats.rankdata(found.frequency)[:_DRAWN] / len(norms)),
            "norm": histograms.rounded(norms[:_DRAWN]),
        },
        "kendall": float(stats.kendalltau(norms, found.frequency).statistic),
    }


def _against(table: EmbeddingTable, found: Counted, norms: NDArray[np.float64]) -> list[dict[str, Any]]:
    """The words that weigh most against the claim: frequent and short, or rare and long."""
    length, common = (stats.rankdata(v) / len(norms) for v in (norms, found.frequency))
    order = np.argsort((length - 0.5) * (common - 0.5), kind="stable")[:10]
    return [
        {
            "id": int(found.rows[i]),
            "token": table.token(int(found.rows[i])),
            "value": float(norms[i]),
            "norm_percentile": round(100 * float(length[i]), 1),
            "frequency_percentile": round(100 * float(common[i]), 1),
        }
        for i in order
    ]
