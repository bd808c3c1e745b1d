"""Tables whose structure is that of one rung and no more: does the ladder name it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embcheck import lexicons, measures
from embcheck.checks.check import Check
from embcheck.checks.evaluate import evaluate
from embcheck.checks.ladder import climb
from embcheck.claims import above, below, claim
from embcheck.estimate import Estimate
from embcheck.nulls.rungs import RUNGS
from embcheck.progress import track
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from embcheck.stats import Floats

__all__ = ["MORE", "examine_ladder", "planted"]

ROWS, WIDTH, PAIRS = 1_500, 32, 60
RIGHT = 0.95  # of the tables, on which the planted rung must be named
MORE = "more"
"""What is named where no rung suffices."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@claim(above(0.4))
def _half(table: EmbeddingTable) -> Estimate:
    """About half of all cosines are not negative."""
    return measures.non_negative_share(table)


@claim(above(0.51))
def _positive(table: EmbeddingTable) -> Estimate:
    """Most cosines are not negative."""
    return measures.non_negative_share(table)


@claim(below(0.9))
def _flat(table: EmbeddingTable, rng: np.random.Generator) -> Estimate:
    """The rows spread in few directions."""
    return measures.participation_share(table, rng=rng)


@claim(above(0.5))
def _heavy_columns(table: EmbeddingTable) -> Estimate:
    """Columns have heavy tails: the mean over columns of the excess kurtosis."""
    columns = table.gather(table.population).double().numpy()
    scores = (columns - columns.mean(0)) / columns.std(0)
    return Estimate.exact(float((scores**4).mean() - 3), name="excess kurtosis of columns")


@claim(above(0.2))
def _uneven_lengths(table: EmbeddingTable) -> Estimate:
    """Rows differ in length: the standard deviation of their lengths over the mean."""
    lengths = table.norms[torch.from_numpy(table.population)].double()
    return Estimate.exact(float(lengths.std() / lengths.mean()), name="coefficient of variation of lengths")


@claim(above(0.55), relation=())
def _near(table: EmbeddingTable, relation: lexicons.Relation, rng: np.random.Generator) -> Estimate:
    """The words of a pair are nearer than those of different pairs."""
    return measures.related_pair_auc(table, relation, rng=rng)


def _direction(rng: np.random.Generator, count: int = 1) -> Floats:
    return np.asarray(rng.standard_normal((count, WIDTH)))


def _smooth(rng: np.random.Generator) -> Floats:
    """Vectors that change little from one row to the next."""
    angles = np.arange(ROWS)[:, None] * rng.uniform(10, 30, WIDTH) / ROWS + rng.uniform(0, 2 * np.pi, WIDTH)
    return np.asarray(1.5 * np.sin(angles))


def _spelt(rng: np.random.Generator) -> Floats:
    """Vectors that tell the first letter of the word."""
    return 1.2 * _direction(rng, len(_LETTERS))[np.arange(ROWS) % len(_LETTERS)]


def _paired(rng: np.random.Generator) -> Floats:
    """Vectors that the words of a pair share: rows i and i + 749."""
    return np.asarray(np.tile(1.2 * _direction(rng, 749), (3, 1))[:ROWS])


_CASES: Mapping[str, tuple[Callable[..., Estimate], Callable[..., Floats], int]] = {
    "gaussian": (_half, lambda noise, _: noise, 0),
    "mean": (_positive, lambda noise, rng: noise + 0.5 * _direction(rng), 0),
    "covariance": (_flat, lambda noise, rng: noise * rng.permutation(np.r_[np.full(8, 3.0), np.ones(WIDTH - 8)]), 0),
    "marginals": (_heavy_columns, lambda noise, rng: rng.laplace(size=noise.shape), 0),
    "lengths": (_uneven_lengths, lambda noise, rng: noise * rng.lognormal(0, 0.35, (ROWS, 1)), 0),
    "frequency": (_near, lambda noise, rng: noise + _smooth(rng), 1),
    "spelling": (_near, lambda noise, rng: noise + _spelt(rng), 26 * 27),
    MORE: (_near, lambda noise, rng: noise + _paired(rng), 749),
}


def planted(rung: str, seed: int) -> tuple[Check, EmbeddingTable]:
    """A property and a table on which it holds for the reason that a rung keeps."""
    rng = np.random.default_rng([seed, *rung.encode()])
    function, build, apart = _CASES[rung]
    words = [_word(row) for row in range(ROWS)]
    vectors = build(rng.standard_normal((ROWS, WIDTH)), rng)
    parameters: dict[str, Any] = {}
    if apart:  # pairs of rows so far apart, no row in two of them
        first = 2 * apart * np.arange(ROWS // (2 * apart) + 1)[:, None] + np.arange(apart)
        firsts = rng.permutation(first[first + apart < ROWS])[:PAIRS]
        pairs = [(words[row], words[row + apart]) for row in firsts]
        parameters["relation"] = lexicons.relation("planted", pairs)
    return Check(function, parameters), EmbeddingTable.from_arrays(vectors.astype(np.float32), words)


def _word(row: int) -> str:
    """A word of its own whose first letter is the row's remainder by 26; all are of one length."""
    number, digits = row // len(_LETTERS), ""
    for _ in range(3):
        number, digit = divmod(number, len(_LETTERS))
        digits = _LETTERS[digit] + digits
    return _LETTERS[row % len(_LETTERS)] + digits


def examine_ladder(tables: int, seed: int = 0) -> list[dict[str, Any]]:
    """For each rung, on how many tables with its structure and no more which rung was named, as plain JSON types."""
    rows = []
    for rung in track((*RUNGS, MORE), "ladder"):
        named: dict[str, int] = {}
        for i in range(tables):
            check, table = planted(rung, seed + i)
            settings = Settings(seed=seed + i, details=False, draws=99)
            ladder = climb(evaluate(check, table, settings), table, settings).ladder
            name = "refuted" if ladder is None else ladder.suffices or MORE
            named[name] = named.get(name, 0) + 1
        right = named.get(rung, 0)
        row = {"planted": rung, "tables": tables, "right": right, "named": named}
        rows.append(row | {"calibrated": right >= RIGHT * tables})
    return rows
