"""Norm and frequency: are the rows of common words longer?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import stats

from embcheck.errors import NotMeasurable
from embcheck.estimate import Details, Estimate, measure
from embcheck.measures import histograms
from embcheck.measures.frequency import look_up
from embcheck.measures.resolve import listed
from embcheck.settings import current
from embcheck.stats.intervals import jackknife_interval

if TYPE_CHECKING:
    from embcheck.measures.frequency import Counted
    from embcheck.stats import Floats
    from embcheck.table import EmbeddingTable

__all__ = ["norm_frequency_correlation", "spearman_jackknife"]

WORDS, ENOUGH = 1_000, 20
_BANDS, _DRAWN = 10, 300
SPREAD = 0.01  # of the largest length: less is no difference in length


@measure
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
    words = look_up(table, frequency, current().sampled(WORDS))
    n = len(words.rows)
    if n < ENOUGH:
        raise NotMeasurable(f"{n} words have a frequency ({frequency}); at least {ENOUGH} are needed")
    norms = table.norms[torch.from_numpy(words.rows).to(table.vectors.device)].cpu().double().numpy()
    if np.ptp(norms) <= SPREAD * norms.max():  # rows stored at unit length differ by rounding, whose ranks say nothing
        raise NotMeasurable(f"all rows have the same length, {norms.mean():.6g} within {SPREAD:.0%}")
    if len(np.unique(words.frequency)) < 2:
        raise NotMeasurable("all words have the same frequency")
    value, replicates = spearman_jackknife(norms, words.frequency)
    if not np.isfinite(replicates).all():
        raise NotMeasurable("all words but one have the same frequency or the same length")
    return Estimate.jackknife(
        value,
        replicates,
        unit="words",
        over="words",
        labels=[table.token(int(row)) for row in words.rows],
        interval=partial(jackknife_interval, bounds=(-1.0, 1.0)),
        name=f"rank correlation of length and frequency ({words.source})",
        details=_details(table, words, norms),
        counterexamples=_frequent_and_short(table, words, norms),
    )


def spearman_jackknife(x: Floats, y: Floats) -> tuple[float, Floats]:
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
    replicates = np.divide(covariance, np.sqrt(spread), out=np.full(n + 1, np.nan), where=spread > 0)
    x_rank, y_rank = (r - r.mean() for r in ranks)
    value = float((x_rank * y_rank).sum() / np.sqrt((x_rank**2).sum() * (y_rank**2).sum()))
    return value, replicates


def _details(table: EmbeddingTable, words: Counted, norms: Floats) -> Details:
    order = np.argsort(-words.frequency, kind="stable")
    bands = np.array_split(order, min(_BANDS, len(order)))
    return {
        "summary": words.note,
        "source": words.source,
        "asked": words.asked,
        "words_of_the_vocabulary": words.candidates,
        "mean_norm_by_frequency_band": [float(norms[band].mean()) for band in bands],  # most frequent first
        "most_frequent": [table.token(int(words.rows[i])) for i in order[:5]],
        "least_frequent": [table.token(int(words.rows[i])) for i in order[-5:]],
        "points": {
            "tokens": [table.token(int(row)) for row in words.rows[:_DRAWN]],
            "frequency_percentile": histograms.rounded(100 * stats.rankdata(words.frequency)[:_DRAWN] / len(norms)),
            "norm": histograms.rounded(norms[:_DRAWN]),
        },
        "kendall": float(stats.kendalltau(norms, words.frequency).statistic),
    }


def _frequent_and_short(table: EmbeddingTable, words: Counted, norms: Floats) -> list[Details]:
    """The words that weigh most against the claim: frequent and short, or rare and long."""
    length, common = (stats.rankdata(v) / len(norms) for v in (norms, words.frequency))
    order = np.argsort((length - 0.5) * (common - 0.5), kind="stable")[:10]
    percentiles = {"norm_percentile": length, "frequency_percentile": common}
    columns = {name: [round(100 * float(share), 1) for share in shares[order]] for name, shares in percentiles.items()}
    return listed(table, words.rows[order], value=norms[order], **columns)
