"""Frequency as a direction: can a linear map read off a word's vector how frequent the word is?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.errors import NotMeasurable
from embcheck.estimate import Estimate, measure
from embcheck.measures import histograms
from embcheck.measures.frequency import look_up
from embcheck.measures.resolve import listed, tokens_part
from embcheck.settings import current, using
from embcheck.table.vocabulary import TokenKind, repeated, word_key

if TYPE_CHECKING:
    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["frequency_r2", "ridge"]

ENOUGH = 40
FITTED, FITTED_IF_WIDE, WIDE = 5_000, 2_000, 1_024  # what is solved is as large as the width, or as many words
_DRAWN = 300
_PENALTIES = 10.0 ** np.arange(-5, 3)  # in mean eigenvalues
_FLOOR = 1e-12  # of the largest eigenvalue: below it a direction is rounding


@measure
def frequency_r2(table: EmbeddingTable, *, frequency: str = "id") -> Estimate:
    r"""Share of the variance of log frequency that ridge regression on the vectors explains of words held out.

    :math:`R^2 = 1 - \sum_i (y_i - \hat y_i)^2 / \sum_i (y_i - \bar y_i)^2`, :math:`y_i` the logarithm of word i's
    frequency, :math:`\hat y_i` its prediction and :math:`\bar y_i` the mean, both from the half of the words that i is
    not in, or 5,000 of it (2,000 where the table is wider than 1,024); negative where the mean does better. Words
    are tokens that begin one, the first of case variants only, so that none predicts another, halved by a hash of their
    texts that no seed changes. Where frequency is read off the row id it is one over the rank among all such tokens
    (Zipf). Every word is predicted: exact. The effect is the same for the logarithm of the row's length alone. Details
    hold the first 300 words in hash order as points to draw. That log frequency is a linear direction: Cho et al.,
    "Understanding Token Probability Encoding in Output Embeddings" (arXiv 2406.01468).

    Parameters
    ----------
    frequency
        As `norm_frequency_correlation` takes it: ``"id"``, ``"wordfreq"``, or the path of a file of counts.

    Raises
    ------
    NotMeasurable
        Fewer than 40 words with a frequency, equal frequencies, no package wordfreq.
    UsageError
        The file can't be read.
    """
    with using(replace(current(), seed=0)):
        words = look_up(table, frequency)
    keys = list(map(word_key, table.texts(words.rows)))
    distinct = np.delete(np.arange(len(keys)), repeated(keys))
    rows, actual = words.rows[distinct], words.logarithm[distinct]
    if len(rows) < ENOUGH:
        raise NotMeasurable(f"{len(rows)} words have a frequency ({frequency}); at least {ENOUGH} are needed")
    predicted, means, by_length = np.empty((3, len(rows)))
    lengths = np.log(table.norms[torch.from_numpy(rows).to(table.vectors.device)].cpu().double().numpy())[:, None]
    halves = np.arange(len(rows)) % 2
    for half in (0, 1):
        held = halves == half
        fitted = np.flatnonzero(~held)[: FITTED if table.width <= WIDE else FITTED_IF_WIDE]
        predicted[held] = _predict(table, rows[fitted], actual[fitted], rows[held])
        by_length[held] = _apply(ridge(lengths[fitted], actual[fitted]), lengths[held])
        means[held] = actual[fitted].mean()
    spread, errors = (actual - means) ** 2, (actual - predicted) ** 2
    if np.ptp(actual) == 0 or not spread.any():
        raise NotMeasurable("all words have the same frequency")
    left, against = errors.sum() / spread.sum(), np.argsort(-errors, kind="stable")[:10]
    order = np.argsort(rows)
    units = 1 - left - (errors - left * spread) / spread.mean()  # linearised: their mean is R^2
    return Estimate.exact(
        1 - float(left),
        n=len(rows),
        unit="words",
        name=f"share of the variance of log frequency ({words.source}) that vectors explain of words held out",
        parts=(tokens_part(table, rows[order], units[order]),),
        effect={
            "name": "the same by length alone",
            "value": 1 - float(((actual - by_length) ** 2).sum() / spread.sum()),
        },
        details={
            "summary": words.note,
            "source": words.source,
            "asked": words.asked,
            "points": {
                "tokens": [table.token(int(row)) for row in rows[:_DRAWN]],
                "log_frequency": histograms.rounded(actual[:_DRAWN]),
                "predicted": histograms.rounded(predicted[:_DRAWN]),
            },
            **(_of_ids(table) if frequency == "id" else {}),
        },
        counterexamples=listed(table, rows[against], value=actual[against], predicted=predicted[against]),
    )


def _of_ids(table: EmbeddingTable) -> dict[str, str]:
    """What stood in for frequency, for the verdict line; a tokenizer that merges bytes numbers words by its merges."""
    of_merges = len(table.of_kind(TokenKind.BYTE)) > 0
    return {"remark": "row ids are merge order, not frequency" if of_merges else "row ids stand in for frequency"}


def _predict(table: EmbeddingTable, fitted: Ints, y: Floats, held: Ints) -> Floats:
    """What a ridge regression on some rows predicts of others."""
    line = ridge(table.gather(fitted).cpu().double().numpy(), y)
    parts = [_apply(line, table.gather(held[part]).cpu().double().numpy()) for part in table.slices(len(held))]
    return np.concatenate(parts)


def _apply(line: tuple[Floats, float], x: Floats) -> Floats:
    return np.asarray(x @ line[0] + line[1])


def ridge(x: Floats, y: Floats) -> tuple[Floats, float]:
    r"""Weights, (d,), and intercept of the ridge regression of (n,) y on (n, d) x.

    The penalty :math:`\lambda` is that of eight, from 1e-5 to 100 mean eigenvalues of the centred :math:`X^T X`, with
    the least sum of squared errors :math:`(y - Hy)_i / (1 - H_{ii})` of each y as the rest predicts it,
    :math:`H = X (X^T X + \lambda I)^{-1} X^T + 1 1^T / n` (Allen's PRESS, 1974).
    """
    mean, n = x.mean(0), len(y)
    largest = np.abs(x - mean).max()
    if largest == 0:
        return np.zeros(x.shape[1]), float(y.mean())
    centred, deviations = (x - mean) / largest, y - y.mean()
    is_wide = n <= x.shape[1]
    squared, axes = np.linalg.eigh(centred @ centred.T if is_wide else centred.T @ centred)
    real = squared > _FLOOR * squared[-1]
    squared, axes = squared[real], axes[:, real]
    scores = axes if is_wide else centred @ axes / np.sqrt(squared)  # (n, r), orthonormal columns
    along, scale = scores.T @ deviations, squared.sum() / x.shape[1]
    sums = []
    for penalty in _PENALTIES:
        shrunk = squared / (squared + penalty * scale)
        own = np.minimum((scores**2) @ shrunk + 1 / n, 1 - 1e-9)
        sums.append(float((((deviations - scores @ (shrunk * along)) / (1 - own)) ** 2).sum()))
    best = _PENALTIES[int(np.argmin(sums))]
    weights = centred.T @ (scores @ (along / (squared + best * scale))) / largest
    return weights, float(y.mean() - mean @ weights)
