"""Rows that are no reference row's any more, or new ones that no training has touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.diagnosis.causes.moved import matched
from embcheck.diagnosis.explanation import Explanation
from embcheck.diagnosis.view import sampled
from embcheck.text import noun

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.diagnosis.view import View
    from embcheck.stats import Ints

__all__ = ["new_rows", "overwritten"]

_MOST = 2_000
HALF = 0.5
NEAR, NARROW = 0.05, 0.7  # a mean is the mean; rows about it lie this much nearer to it than rows do

_WHAT = {
    "not_finite": ("hold NaN or infinity", "an overflow in training or conversion: restore them from the reference"),
    "zero": ("are zero", "they were never filled, or are padding: restore them, or leave them out of the vocabulary"),
    "one_vector": ("are all the same vector", "one row was broadcast over them: restore them from the reference"),
    "mean": ("are the mean of the other rows", "they were initialised and never trained: train or restore them"),
    "mean_plus_noise": (
        "are the mean of the other rows plus a little noise",
        "as a resized vocabulary is initialised: train them, or restore them from the reference",
    ),
    "random": (
        "are filled with random numbers",
        "as a new table is initialised: they were never trained; train or restore them",
    ),
    "copies": ("are copied from other rows", "restore them from the reference, or train them apart"),
}
_ONE = {"are": "is", "hold": "holds", "have": "has", "their": "its"}


def overwritten(view: View, rows: Ints) -> Explanation | None:
    """What stands in rows that have nothing to do with their reference rows; none where that is nothing known."""
    kind, more = _kind(view, rows)
    if kind is None:
        return None
    what, remedy = _WHAT[kind]
    return Explanation(
        "rows_overwritten",
        {"kind": kind, "rows": len(rows), **more},
        rows=tuple(rows.tolist()),
        sentence=_said(rows, view, what),
        remedy=remedy,
    )


def new_rows(view: View, rows: Ints) -> Explanation:
    """What stands in rows that the reference has no counterpart of."""
    kind, more = _kind(view, rows)
    what, _remedy = _WHAT.get(kind or "", ("have values of their own", ""))
    if kind == "zero":
        cause, remedy = "rows_padded", "harmless where no token reaches them; give the vocabulary's size when reading"
    elif kind is None:
        cause, remedy = "rows_added", "expected after training new tokens; compare the old ones alone otherwise"
    else:
        cause, remedy = "rows_untouched", "train them before they are used: no gradient has reached them yet"
    return Explanation(
        cause,
        {"kind": kind or "of their own", "rows": len(rows), **more},
        rows=tuple(rows.tolist()),
        sentence=_said(rows, view, f"are new and {what}"),
        remedy=remedy,
    )


def _said(rows: Ints, view: View, what: str) -> str:
    """The rows by name, and what they are, in the singular where it is one."""
    named = ", ".join(f"#{row} {view.candidate.token(int(row))!r}" for row in rows[:3])
    if len(rows) == 1:
        what = " ".join(_ONE.get(word, word) for word in what.split(" "))
    return f"{len(rows)} {noun(len(rows), 'rows')} ({named}{', ...' * (len(rows) > 3)}) {what}"


def _kind(view: View, rows: Ints) -> tuple[str | None, dict[str, float]]:
    rows = sampled(rows, _MOST)
    values = view.actual(rows)
    is_finite = torch.isfinite(values).all(1)
    if not bool(is_finite.all()):
        return (None if bool(is_finite.any()) else "not_finite"), {}
    if bool((values == 0).all()):
        return "zero", {}
    rest = view.actual(np.setdiff1d(view.sample[0], rows))
    center, spread = rest.mean(0), float(rest.var(0, correction=0).sum().sqrt())
    off = float((values.mean(0) - center).norm())
    within = float((values - values.mean(0)).square().sum(1).mean().sqrt())
    error = spread * (1 / len(rest)) ** 0.5
    if within <= 1e-3 * spread:
        return _constant(view, rows, is_mean=off <= max(NEAR * spread, 4 * error))
    if _are_copies(view, rows):
        return "copies", {}
    is_iid = _is_random(values)
    about_mean = within < NARROW * spread and off <= NEAR * spread + 4 * (error + within / len(rows) ** 0.5)
    if about_mean and not (is_iid and _is_about_zero(values, center)):
        return "mean_plus_noise", {"noise": within / view.candidate.width**0.5}
    return ("random", {"std": float(values.std(correction=0))}) if is_iid else (None, {})


def _is_about_zero(values: Tensor, center: Tensor) -> bool:
    """Whether rows are about zero rather than about a mean: the mean is told from it, and they are no part of it."""
    share = float(values.mean(0) @ center) / max(float(center @ center), 1e-300)
    error = float(values.std(correction=0)) / (len(values) * max(float(center @ center), 1e-300)) ** 0.5
    return (share < HALF and error < HALF / 2) or float(center.norm()) <= float(values.std(correction=0))


def _constant(view: View, rows: Ints, *, is_mean: bool) -> tuple[str | None, dict[str, float]]:
    if is_mean:
        return "mean", {}
    if len(rows) > 1 and not _are_copies(view, rows[:1]):
        return "one_vector", {}
    return ("copies", {}) if _are_copies(view, rows[:1]) else (None, {})


def _are_copies(view: View, rows: Ints) -> bool:
    """Whether nearly every one is some other row, of the reference or of the candidate."""
    rows = sampled(rows, 64)
    sources, is_sure = matched(view, rows, view.reference)
    near = view.actual(rows)
    laid_out = view.with_(source=_put(len(view.source), rows, sources))
    apart = torch.linalg.vector_norm(near - laid_out.predicted(rows), dim=1) / torch.linalg.vector_norm(near, dim=1)
    others = np.setdiff1d(view.sample[0], rows)
    spread = float(view.actual(others).var(0).sum().sqrt())
    return bool(((apart * torch.linalg.vector_norm(near, dim=1) < 0.2 * spread).numpy() & is_sure).mean() > 0.9)


def _put(size: int, rows: Ints, sources: Ints) -> Ints:
    placed = np.full(size, -1, dtype=np.int64)
    placed[rows] = sources
    return placed


def _is_random(values: Tensor) -> bool:
    """Independent numbers of one distribution without long tails: no column, row or pair of rows stands out."""
    z = (values - values.mean()) / values.std(correction=0)
    n, d = z.shape
    kurtosis = float((z**4).mean())
    by_row, by_column = z.square().mean(1), z.square().mean(0)
    allowed = 7 * (max(kurtosis - 1, 0.1)) ** 0.5
    is_even = float((by_row - 1).abs().max()) < allowed / d**0.5 + 0.05
    is_flat = n < 8 or float((by_column - 1).abs().max()) < allowed / n**0.5 + 0.05
    centred = n < 8 or float(z.mean(0).abs().max()) < 5 / n**0.5 + 0.01
    return bool(1.5 < kurtosis < 4 and is_even and is_flat and centred)
