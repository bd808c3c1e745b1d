"""Spelling: can the first letter be read from a word's vector, without having seen a word of its stem?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from embcheck.errors import NotMeasurable
from embcheck.estimate import Estimate, measure
from embcheck.measures.resolve import lowest, unit
from embcheck.settings import current
from embcheck.stats import permutations
from embcheck.stats.intervals import score_interval
from embcheck.table.spelling import stems

if TYPE_CHECKING:
    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["first_letter_accuracy", "made_and_held_out"]

ENOUGH, SHUFFLES, LETTERS = 500, 1_999, 26
SHRINKAGE = 0.3  # of the covariance: more than 0.1 and less than 0.5 move no table that was tried by 0.03


@measure
def first_letter_accuracy(table: EmbeddingTable, *, rng: np.random.Generator) -> Estimate:
    r"""Share of held-out words whose first letter a linear readout tells from their unit vector.

    Of at most 5,000 words in hash order, no two of which begin with the same four letters, the first three quarters
    make the readout and the last is read, so that no stem is on both sides. The readout is Fisher's linear
    discriminant: the letter with the largest :math:`\log \pi_k + \mu_k^\top \Sigma^{-1} x - \mu_k^\top \Sigma^{-1}
    \mu_k / 2`, of shares :math:`\pi_k`, means :math:`\mu_k` and the covariance S within letters as
    :math:`\Sigma = 0.7 S + 0.3 \operatorname{tr}(S) I / d`. Unit: held-out words, one of each stem, so that they are
    independent given the readout; interval: Wilson's score. ``shuffled_spellings`` permutes the held-out words, 1,999
    times. That models which never see letters know them: Kaushal and Mahowald 2022, "What do tokens know about their
    characters and how do they know it?" (arXiv 2206.02608); arXiv 2506.10641.

    Raises
    ------
    NotMeasurable
        Fewer than 500 words of different stems, or all of one direction.
    """
    made_of, held_out = made_and_held_out(table)
    train, test = (unit(table.gather(rows).cpu().double().numpy()) for rows in (made_of, held_out))
    letters, truth = (_letters(table, rows) for rows in (made_of, held_out))
    scores, every = _scores(train, letters, test), np.arange(len(truth))
    read = scores.argmax(1)
    right = read == truth
    n, share = len(right), float(right.mean())
    own = scores[every, truth]
    scores[every, truth] = -np.inf
    counts = np.stack([np.bincount(labels, minlength=LETTERS) for labels in (read, truth)])
    draws = permutations.draw(
        lambda orders: (read == truth[orders]).mean(1), lambda count: permutations.orders(n, count, rng), most=SHUFFLES
    )
    return Estimate.from_units(
        right,
        unit="held-out words",
        labels=[table.token(int(row)) for row in held_out],
        bounds=(0.0, 1.0),
        interval=score_interval(share, share * (1 - share) / n, n, n - 1, current().confidence_level),
        name="share of held-out words whose first letter is read right",
        effect={"name": "by chance, mean of shuffles", "value": float((counts[0] * counts[1]).sum()) / n**2},
        draws={"shuffled_spellings": draws},
        details={
            "words": len(made_of) + n,
            "most_frequent_letter": float(counts[1].max()) / n,
            "right_by_letter": {
                chr(ord("a") + letter): float(right[truth == letter].mean()) for letter in np.unique(truth)
            },
        },
        counterexamples=lowest(table, held_out, np.maximum(own, np.finfo(np.float64).min) - scores.max(1)),
    )


def made_and_held_out(table: EmbeddingTable) -> tuple[Ints, Ints]:
    """Rows of the words that make the readout, and of those that it reads, in hash order.

    Raises
    ------
    NotMeasurable
        Fewer than 500 words of different stems.
    """
    rows = stems(table)
    if len(rows) < ENOUGH:
        raise NotMeasurable(f"{len(rows)} words of different stems begin a token; at least {ENOUGH} are needed")
    made = len(rows) - len(rows) // 4  # so many that which words they are moves the share little beside which are read
    return rows[:made], rows[made:]


def _letters(table: EmbeddingTable, rows: Ints) -> Ints:
    """(n,) first letters, a being 0."""
    return np.array([ord(table.tokens[row].strip()[0].lower()) - ord("a") for row in rows], dtype=np.int64)


def _scores(train: Floats, letters: Ints, test: Floats) -> Floats:
    """(n, 26) how likely each letter is for each word; none that no other word begins with."""
    members = np.eye(LETTERS)[letters]
    counts = members.sum(0)
    means = members.T @ train / np.maximum(counts, 1)[:, None]
    apart = train - means[letters]
    within = apart.T @ apart / len(train)
    even = np.trace(within) / len(within)
    if even <= np.finfo(np.float64).eps:
        raise NotMeasurable(f"all {len(train)} words of a letter have the same direction")
    weights = np.linalg.solve((1 - SHRINKAGE) * within + SHRINKAGE * even * np.eye(len(within)), means.T)
    scores = test @ weights - (means.T * weights).sum(0) / 2
    scores[:, counts > 0] += np.log(counts[counts > 0] / len(train))
    scores[:, counts == 0] = -np.inf
    return np.asarray(scores)
