"""What is left of rows that are otherwise explained: noise of one size, or the drift of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.diagnosis.explanation import Explanation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from embcheck.diagnosis.view import View
    from embcheck.stats import Floats, Ints

__all__ = ["Left", "explain_left", "explain_rows"]

PREDICTED = 0.06  # share of the left-over that may be told from the prediction
GROWS = 0.25  # rank correlation of drift with the order of ids
MOST_DRIFT = 0.8
FEW = 0.5  # of the values in a row that drifted: training moves them all
SCALED = 0.05  # of the change of a row, what a factor may leave of it
_ENOUGH = 8  # rows to see a pattern in


@dataclass(frozen=True, eq=False)
class Left:
    """Candidate less prediction, of sampled rows."""

    rows: Ints
    predicted: Tensor
    apart: Tensor
    spread: float
    beside: Sequence[Tensor]
    """(n, d) predictions of the rows before and after each."""

    @property
    def lengths(self) -> Tensor:
        """(n,) of each row's, in units of the typical distance of rows from their mean."""
        lengths: Tensor = torch.linalg.vector_norm(self.apart, dim=1)
        return lengths / self.spread


def explain_left(left: Left) -> Explanation | str:
    """Noise or drift; otherwise what it looks like, in words."""
    lengths = left.lengths.numpy()
    if reason := _sparse(left) or _predictable(left):
        return reason
    z = left.apart / left.apart.std(correction=0)
    d = z.shape[1]
    kurtosis = float((z**4).mean())
    energy = z.square().mean(1).numpy()
    unevenness = float(np.std(energy)) / max(((kurtosis - 1) / d) ** 0.5, 1e-9)
    by_column = z.square().mean(0)
    column_noise = float(by_column.std()) / max(((kurtosis - 1) / len(z)) ** 0.5, 1e-9)
    if 1.6 < kurtosis < 4 and unevenness < 1.6 and column_noise < 2:
        return _noise(left)
    grows = _spearman(-left.rows.astype(float), lengths)
    if abs(grows) > GROWS and float(np.median(lengths)) < MOST_DRIFT and column_noise < 30:
        return _frequency(left, grows)
    return (
        f"what is left ({float(np.median(lengths)):.2g} of the rows' spread) is neither noise of one size nor drift "
        f"that goes with frequency: kurtosis {kurtosis:.2g}, rows {unevenness:.2g} and columns "
        f"{column_noise:.2g} times as uneven as chance"
    )


def _noise(left: Left) -> Explanation:
    size = float(left.apart.std(correction=0))
    return Explanation(
        "noise",
        {"std": size, "relative": size * left.apart.shape[1] ** 0.5 / left.spread},
        sentence=f"independent noise of standard deviation {size:.3g} is added to every value",
        remedy="look for dropout or noise left on when saving (differential privacy, NEFTune), or lossy transport",
    )


def _frequency(left: Left, grows: float) -> Explanation:
    median = float(left.lengths.median())
    more = "more" if grows > 0 else "less"
    return Explanation(
        "fine_tuned",
        {"median": median, "with_frequency": grows},
        sentence=f"rows drifted by {median:.2g} of their spread in the median, tokens of low ids {more} than others",
        remedy="expected after training; see which claims moved with embcheck compare, or freeze the table",
    )


def explain_rows(view: View, left: Left, rows: Ints) -> Explanation | str:
    """A factor or drift of some rows, the others being what they were; otherwise what it looks like, in words."""
    if (scaled := _scaled(view, left, rows)) is not None:
        return scaled
    if len(left.rows) >= _ENOUGH and (reason := _predictable(left)):
        return reason
    if reason := _sparse(left):
        return reason
    compared = view.compared()
    median = float(np.median(compared.distance[rows]))
    named = ", ".join(repr(view.candidate.token(int(row))) for row in rows[:5])
    return Explanation(
        "fine_tuned",
        {"median": median, "rows": len(rows)},
        rows=tuple(rows.tolist()),
        sentence=f"{len(rows)} of {len(view.source)} rows drifted, by {median:.2g} of their spread in the median: "
        f"{named}",
        remedy="expected where only some tokens were trained; see which claims moved with embcheck compare",
    )


def _scaled(view: View, left: Left, rows: Ints) -> Explanation | None:
    """That each row is its prediction times a factor, shared or of its own, where that leaves next to nothing."""
    factors = 1 + (left.apart * left.predicted).sum(1) / left.predicted.square().sum(1).clamp(min=1e-300)
    off = torch.linalg.vector_norm(left.apart - (factors - 1)[:, None] * left.predicted, dim=1)
    if float((off / torch.linalg.vector_norm(left.apart, dim=1)).quantile(0.9)) > SCALED:
        return None
    least, greatest = float(factors.min()), float(factors.max())
    named = ", ".join(f"#{row} {view.candidate.token(int(row))!r}" for row in rows[:3])
    by = (
        f"{least:.4g}" if f"{least:.3g}" == f"{greatest:.3g}" else f"a factor of its own, {least:.3g} to {greatest:.3g}"
    )
    some = f"{len(rows)} of {len(view.source)} rows ({named}{', ...' * (len(rows) > 3)})"
    return Explanation(
        "scaled",
        {"least": least, "greatest": greatest, "rows": len(rows)},
        rows=tuple(rows.tolist()),
        sentence=f"{some} {'is' if len(rows) == 1 else 'are each'} multiplied by {by}",
        remedy="divide them by their factors, or find the code that rescales rows (a norm clipped, weights tied twice)",
    )


def _sparse(left: Left) -> str | None:
    """That few values of the rows are changed, where that is so: neither noise nor training leaves the others."""
    touched = float((left.apart != 0).double().mean())
    if touched >= FEW or float((left.predicted != 0).double().mean()) <= FEW:
        return None
    return f"single values are changed: {touched:.1%} of those in {len(left.rows)} rows"


def _predictable(left: Left) -> str | None:
    """How the left-over hangs on the prediction, where it does: then it is a change of values that is not known."""
    a, apart = left.predicted, left.apart - left.apart.mean(0)
    energy = float(apart.square().sum())
    if float(left.apart.mean(0).square().sum()) * len(a) > (PREDICTED + 4 / len(a)) * float(left.apart.square().sum()):
        return "what is left is the same in every row"
    centred = a - a.mean(0)
    own = ((apart * centred).sum(1) / torch.linalg.vector_norm(centred, dim=1).clamp(min=1e-300)).square().sum()
    if float(own) / energy > PREDICTED + 3 / a.shape[1]:
        return (
            f"{float(own) / energy:.0%} of what is left points along the row itself: each row has a factor of its own"
        )
    for rows in left.beside:
        apart_from = rows - rows.mean(0)
        along = torch.nn.functional.cosine_similarity(apart, apart_from - _along(apart_from, centred), dim=1)
        if abs(float(along.mean())) > PREDICTED + 3 / along.numel() ** 0.5:
            return "what is left lies along the rows before or after: rows were mixed with their neighbors"
    if len(a) > 3 * a.shape[1]:
        matrix = torch.linalg.lstsq(centred[::2], apart[::2]).solution
        told = 1 - float((apart[1::2] - centred[1::2] @ matrix).square().sum() / apart[1::2].square().sum())
        if told > PREDICTED:
            return f"{told:.0%} of what is left is linear in the row, by no matrix that is known here"
    signs = torch.from_numpy(np.random.default_rng(0).choice([-1.0, 1.0], (len(a), 1)))
    by_chance = _by_value(a, apart * signs)
    if (told := _by_value(a, apart)) > PREDICTED / 3 + 3 * by_chance:
        return f"{told:.0%} of what is left is a function of the value itself: values were clipped, bent or rounded"
    return None


def _along(rows: Tensor, others: Tensor) -> Tensor:
    """What of each row lies along another."""
    share = (rows * others).sum(1) / others.square().sum(1).clamp(min=1e-300)
    return share[:, None] * others


def _by_value(a: Tensor, apart: Tensor) -> float:
    """Share of the left-over's energy in its means over 32 bins of the value."""
    values, left = a.flatten(), apart.flatten()
    if len(values) > 400_000:
        step = len(values) // 400_000 + 1
        values, left = values[::step], left[::step]
    order = torch.argsort(values)
    bins = left[order].tensor_split(32)
    return float(sum(len(part) * float(part.mean()) ** 2 for part in bins) / left.square().sum())


def _spearman(x: Floats, y: Floats) -> float:
    ranks = [np.argsort(np.argsort(values)).astype(float) for values in (x, y)]
    return float(np.corrcoef(np.stack(ranks))[0, 1])
