"""Norm and frequency: are the rows of common words longer?"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import stats

from embcheck.errors import NotMeasurable
from embcheck.estimate import KEPT, Details, Estimate, measure, part
from embcheck.measures import histograms
from embcheck.measures.frequency import look_up
from embcheck.measures.resolve import listed
from embcheck.stats.intervals import jackknife_interval
from embcheck.table.vocabulary import TokenKind

if TYPE_CHECKING:
    from embcheck.measures.frequency import Counted
    from embcheck.stats import Floats
    from embcheck.table import EmbeddingTable

__all__ = ["norm_frequency_correlation", "spearman_jackknife"]

ENOUGH = 20
_BANDS, _DRAWN = 10, 300
SPREAD = 0.01  # of the largest length: less is no difference in length


@measure
def norm_frequency_correlation(table: EmbeddingTable, *, frequency: str = "id") -> Estimate:
    r"""Spearman's correlation between a word's vector length and how frequent the word is.

    Over all tokens that begin a word. Unit: words; interval: delete-one-word jackknife-t, of words like these;
    checkpoints are compared on these very words, exactly. Frequency is measured (``"wordfreq"``, or a file of counts),
    or read off the row id (``"id"``): a proxy, good where a tokenizer numbers its tokens by frequency and worthless
    where it numbers them otherwise. Details hold the first 300 words in hash order as points to draw. Asked for by the
    notebook "Word Embeddings: From Tokens to Geometry" (2026), suggested extensions.

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
    words = look_up(table, frequency)
    n = len(words.rows)
    if n < ENOUGH:
        raise NotMeasurable(f"{n} words have a frequency ({frequency}); at least {ENOUGH} are needed")
    norms = table.norms[torch.from_numpy(words.rows).to(table.vectors.device)].cpu().double().numpy()
    if np.ptp(norms) <= SPREAD * norms.max():  # rows stored at unit length differ by rounding, whose ranks say nothing
        raise NotMeasurable(f"all rows have the same length, {norms.mean():.6g} within {SPREAD:.0%}")
    if len(np.unique(words.frequency)) < 2:
        raise NotMeasurable("all words have the same frequency")
    if max(np.unique(values, return_counts=True)[1].max() for values in (norms, words.frequency)) >= n - 1:
        raise NotMeasurable("all words but one have the same frequency or the same length")
    value, replicates = spearman_jackknife(norms, words.frequency)
    name = f"rank correlation of length and frequency ({words.source})"
    estimate = Estimate.jackknife(
        value,
        replicates,
        unit="words",
        over="words",
        interval=partial(jackknife_interval, bounds=(-1.0, 1.0)),
        name=name,
        compared_as=(name, value),
        parts=(part(map(table.token, words.rows[:KEPT].tolist()), _products(norms, words.frequency), population=n),),
        details=_details(table, words, norms),
        counterexamples=_frequent_and_short(table, words, norms),
    )
    return (
        estimate if frequency != "id" else replace(estimate, details={**estimate.details, **_of_ids(table, estimate)})
    )


def spearman_jackknife(x: Floats, y: Floats) -> tuple[float, Floats]:
    r"""Spearman's correlation of n pairs (ties share their mean rank), and its n delete-one replicates to first order.

    Of ranks :math:`a_j, b_j` as shares about their mean, a pair i that counts a little more changes the mean product by
    :math:`a_i b_i + \overline{[x_j > x_i] b_j} + \overline{[y_j > y_i] a_j}` (ties count one half), less three times
    that mean: by its own product, and by the ranks of all above it. Cumulative sums over the order, O(n log n); exact
    replicates would take memory for all pairs of pairs (infinitesimal jackknife: Jaeckel 1972; Efron and Tibshirani
    1993, section 21.4).
    """
    n = len(x)
    ranks = [(stats.rankdata(v) - (n + 1) / 2) / n for v in (x, y)]

    def moment(first: int, second: int) -> tuple[float, Floats]:
        a, b = ranks[first], ranks[second]
        mean = float((a * b).mean())
        return mean, a * b + _mean_above((x, y)[first], b) + _mean_above((x, y)[second], a) - 3 * mean

    (product, of_product), (xx, of_xx), (yy, of_yy) = moment(0, 1), moment(0, 0), moment(1, 1)
    value = product / math.sqrt(xx * yy)
    influence = of_product / math.sqrt(xx * yy) - value / 2 * (of_xx / xx + of_yy / yy)
    return value, value - influence / (n - 1)


def _mean_above(order: Floats, values: Floats) -> Floats:
    """For each unit the sum of the values of those that stand above it, half of those beside it, over their number."""
    _, group = np.unique(order, return_inverse=True)
    sums = np.bincount(group, weights=values)
    return np.asarray((sums.sum() - np.cumsum(sums) + sums / 2)[group] / len(values))


def _products(x: Floats, y: Floats) -> Floats:
    """Products of standard ranks, whose mean is Spearman's correlation."""
    a, b = (stats.zscore(stats.rankdata(v)) for v in (x, y))
    return np.asarray(a * b)


def _details(table: EmbeddingTable, words: Counted, norms: Floats) -> Details:
    order = np.argsort(-words.frequency, kind="stable")
    bands = np.array_split(order, min(_BANDS, len(order)))
    return {
        "summary": words.note,
        "source": words.source,
        "asked": words.asked,
        "words_of_the_vocabulary": words.asked,
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


def _of_ids(table: EmbeddingTable, estimate: Estimate) -> Details:
    """What stood in for frequency, for the verdict line and in full.

    Where bytes are tokens, ids are known not to follow frequency: a tokenizer that merges bytes numbers those first,
    then words in the order of its merges.
    """
    count = len(table.of_kind(TokenKind.BYTE))
    if not count:
        return {"remark": "row ids stand in for frequency"}
    length = "longer" if estimate.low > 0 else "shorter" if estimate.high < 0 else "no longer and no shorter"
    note = (
        f"Frequency is read off the row id, a proxy, and not a good one here: {count} tokens are bytes, so ids are the "
        f"order in which pieces were merged. Seen: words merged early are {length} than later ones."
    )
    return {"remark": f"row ids are merge order, not frequency: early words are {length}", "summary": note}


def _frequent_and_short(table: EmbeddingTable, words: Counted, norms: Floats) -> list[Details]:
    """The words that weigh most against the claim: frequent and short, or rare and long."""
    length, common = (stats.rankdata(v) / len(norms) for v in (norms, words.frequency))
    order = np.argsort((length - 0.5) * (common - 0.5), kind="stable")[:10]
    percentiles = {"norm_percentile": length, "frequency_percentile": common}
    columns = {name: [round(100 * float(share), 1) for share in shares[order]] for name, shares in percentiles.items()}
    return listed(table, words.rows[order], value=norms[order], **columns)
