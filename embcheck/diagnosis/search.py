r"""Which causes, in which order: cheap ones first, each kept where held-out rows bear it out.

A candidate's rows are taken for :math:`Q(f(RAC) + e)`: reference rows A in another order (R), their columns in another
place (C), values changed (f), something added (e), all rounded (Q). The parts are looked for from the outside in: how
values are rounded shows on the candidate alone, and says how much of the rest is rounding; columns by their
correlations; rows by where they lie; values by trying every change, and every two one after the other. Of two accounts
the better has the lower :math:`2nd \log \rho + p \log nd` on held-out rows, where :math:`\rho` is the median distance
of a row from its prediction, no less than the rounding, and p how many numbers were fitted (Schwarz 1978). What is then
left must look like noise or like training, or nothing is said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.baseline.pairing import pair_rows
from embcheck.diagnosis.causes import columns, merged, moved, overwritten, related, residual
from embcheck.diagnosis.causes.cast import Cast, cast_of, half_ulp
from embcheck.diagnosis.causes.quantized import Grid, grid_of
from embcheck.diagnosis.causes.rotated import Rotated, Whitened
from embcheck.diagnosis.explanation import Explanation
from embcheck.diagnosis.values import ROUGH, laid_out, trial, tried
from embcheck.diagnosis.view import View, sampled
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from embcheck.stats import Bools, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["Account", "search"]

MARGIN = 0.8  # of the distance left by an account with fewer numbers: one that leaves more than that adds nothing
FINE = 2e-6  # the least rounding
GRID = 1.6  # times the rounding of an even grid: what quantizers that search for their scales may leave
FARTHEST = 2.0  # times the rounding of an even grid: half a step in every value comes to 1.73
COUNTERPART, TURNED = 0.5, 0.3  # cosine of rows with their prediction, and what a fitted rotation may leave of them
FOREIGN = 0.3  # cosine below which a row is not its old self where all rows drifted
FAR = 5.0  # and how many times farther than the median it lies from where it was
MOSTLY = 0.9  # of rows that are off, for all of them to be of one kind


@dataclass(frozen=True, eq=False)
class Account:
    """The causes of a difference in the order in which they were applied, and what is left."""

    explanations: tuple[Explanation, ...]
    residual: float
    runner_up: str | None = None
    abstained: str | None = None


@dataclass(frozen=True, eq=False)
class _Rounding:
    """How the candidate's values are rounded, and by how much a row is off for it, in units of the spread."""

    cause: Cast | Grid | None
    error: float
    """Where values are worked out before they are rounded."""
    as_stored: float
    """Where they are taken as they are: nothing but the last digits of float32, if both tables are rounded alike."""
    relative: float
    """By how much a value is off for the floats they are kept in, as a share of itself."""
    spread: float

    def errors(self, rows: Tensor) -> Tensor:
        """(n,) by how much each of these (n, d) rows is off, in units of the spread: long ones by more than others."""
        own = self.relative * torch.linalg.vector_norm(rows, dim=1)
        if isinstance(self.cause, Grid):
            own = own.maximum(self.cause.errors(rows))
        off: Tensor = (own / self.spread).clamp(min=self.error)
        return off


class _UnexplainedError(Exception):
    """No cause fits; the text says what the difference looks like."""


def search(reference: EmbeddingTable, candidate: EmbeddingTable, parents: Sequence[EmbeddingTable] = ()) -> Account:
    """The causes of the difference, or why there is none to name."""
    search_of = _Search(reference, candidate)
    try:
        search_of.run(parents)
    except _RelatedError:
        pass
    except _UnexplainedError as why:
        return Account(tuple(search_of.explanations), search_of.residual, search_of.runner_up, str(why))
    return Account(tuple(search_of.explanations), search_of.residual, search_of.runner_up)


class _Search:
    """One candidate and the causes found so far."""

    def __init__(self, reference: EmbeddingTable, candidate: EmbeddingTable) -> None:
        self.reference, self.candidate = reference, candidate
        self.explanations: list[Explanation] = []
        self.residual = 1.0
        self.runner_up: str | None = None

    def run(self, parents: Sequence[EmbeddingTable]) -> None:
        view = self._rows()
        if len(view.sample[1]) < 4:
            raise _UnexplainedError(f"only {len(view.sample[1])} rows of the two are finite in both; too few to tell")
        rounding = self._rounding(view)
        if parents and self._merged(view, rounding, parents):
            return
        view = self._columns(view)
        if self.candidate.width == view.laid_out(view.source[view.sample[1]]).shape[1]:
            view, how = moved.by_content(view)
            self.explanations += [how] if how else []
        view = self._values(view, rounding)
        self._others(view, rounding)
        self._sizes(view)
        if rounding.cause is not None:
            self.explanations.append(rounding.cause.explain(self.candidate.width))
        if not self.explanations:
            self.explanations.append(_identical(view))

    # --- which row, how rounded ------------------------------------------------------------------------------------

    def _rows(self) -> View:
        """Rows beside each other by id, or by token where that makes more of them alike."""
        size = len(self.candidate.vectors)
        ids = np.arange(size)
        by_id = View(self.reference, self.candidate, np.where(ids < len(self.reference.vectors), ids, -1))
        named = min(len(self.reference.tokens), len(self.candidate.tokens), len(self.reference.vectors), size)
        before, after = ([table.token(row) for row in range(named)] for table in (self.reference, self.candidate))
        differ = np.array([row for row in range(named) if before[row] != after[row]], dtype=np.int64)
        if not len(differ):
            return by_id
        pairing = pair_rows(self.reference, self.candidate)
        source = by_id.source.copy()
        source[:named] = -1
        source[pairing.second] = pairing.first
        by_token = by_id.with_(source=source)
        rows = sampled(differ, 500)
        if self.reference.width == self.candidate.width and _alike(by_token, rows) > _alike(by_id, rows):
            moved_ids = int((pairing.first != pairing.second).sum())
            if moved_ids:
                self.explanations.append(_reordered(moved_ids, pairing.second[pairing.first != pairing.second]))
            return by_token
        self.explanations.append(_other_tokens(self.reference, self.candidate, differ))
        return by_id

    def _rounding(self, view: View) -> _Rounding:
        rows = view.sample[0]
        actual = view.actual(rows)
        largest = max(self._largest(), float(actual.abs().max()))
        spread = max(float(actual.var(0, correction=0).sum().sqrt()), 1e-300)
        length = float(actual.square().sum(1).mean().sqrt())
        source = self.reference.gather(view.source[rows]).double().cpu()
        casts = cast_of(actual, largest), cast_of(source, float(source.abs().max()))
        coarser = max(half_ulp(cast.dtype) if cast else FINE for cast in casts)
        relative = max(FINE, coarser)
        error = relative * length / spread
        ulp = half_ulp(casts[0].dtype) if casts[0] else 0.0
        grids = grid_of(actual, largest, ulp), grid_of(source, float(source.abs().max()), ulp)
        least = FINE * length / spread
        if grids[0] and (not grids[1] or grids[0].kind != grids[1].kind):
            noise = grids[0].step * math.sqrt(self.candidate.width / 12) / spread
            return _Rounding(grids[0], max(error, noise), max(least, GRID / ROUGH * noise), relative, spread)
        ulps = [half_ulp(cast.dtype) if cast else 0.0 for cast in casts]
        as_stored = least if ulps[0] >= ulps[1] else error
        return _Rounding(casts[0] if ulps[0] > ulps[1] else None, error, as_stored, relative, spread)

    def _largest(self) -> float:
        parts = (self.candidate.gather(part) for part in self.candidate.slices(len(self.candidate.vectors)))
        return max(float(torch.nan_to_num(rows, 0, 0, 0).abs().amax()) for rows in parts)

    def _merged(self, view: View, rounding: _Rounding, parents: Sequence[EmbeddingTable]) -> bool:
        first, second = parents
        size = min(len(first.vectors), len(second.vectors))
        if first.width != second.width or first.width != self.candidate.width or size < len(view.source):
            raise _UnexplainedError("the parents and the candidate have other shapes")
        rows = view.sample[1]
        a, b, mixed = (table.gather(rows).double().cpu() for table in (first, second, self.candidate))
        merge = merged.merge_of(a, b, mixed)
        spread = float(mixed.var(0, correction=0).sum().sqrt())
        left = float(torch.linalg.vector_norm(merge.apart, dim=1).median()) / spread
        if left > ROUGH * rounding.error or not 0.01 < merge.share < 0.99:
            return False
        self.residual = left
        self.explanations.append(merge.explain(left))
        if rounding.cause is not None:
            self.explanations.append(rounding.cause.explain(self.candidate.width))
        return True

    # --- columns and values ----------------------------------------------------------------------------------------

    def _columns(self, view: View) -> View:
        laid_out = columns.columns_of(view)
        if laid_out is None:
            widths = f"{self.reference.width} and {self.candidate.width} columns"
            raise _UnexplainedError(f"{widths}, and none of the one is one of the other")
        view, how = laid_out
        self.explanations += [how] if how else []
        return view

    def _values(self, view: View, rounding: _Rounding) -> View:
        """The view with the change of values that accounts for most, if any does."""
        fitted, held = view.sample
        a, b, ah, bh = (f(rows) for rows in (fitted, held) for f in (view.predicted, view.actual))
        keep = _alike_rows(a, b)
        trials = list(tried(a[keep], b[keep], ah, bh, partial(laid_out, view), rounding.error))
        cells, trials = bh.numel(), sorted(trials, key=lambda one: (one.count, len(one.maps)))
        best = trials[0]
        for other in trials[1:]:
            is_better = other.score(cells, rounding.error) < best.score(cells, rounding.error)
            if is_better and other.left < MARGIN * best.left:
                best = other
        others = [t for t in trials if t.name != best.name and best.maps[: len(t.maps)] != t.maps and t.maps]
        if others and best.maps:
            second = min(others, key=lambda t: t.left)
            left = number(second.left, (best.left,))
            self.runner_up = f"{second.name}, which leaves {left} of the rows' spread, not {number(best.left)}"
        view = view.with_(maps=best.maps)
        self.residual = best.left
        is_turned = any(isinstance(change, Rotated | Whitened) and change.count > 1 for change in best.maps)
        if best.cosine < COUNTERPART or (is_turned and best.left > max(TURNED, ROUGH * rounding.error)):
            self._unlike(view.with_(maps=()))
        self.explanations += [change.explain(self.candidate.width) for change in best.maps]  # type: ignore[attr-defined]
        return view

    def _unlike(self, view: View) -> None:
        """No row is alike: whether pairs of rows are."""
        rows = sampled(np.concatenate(view.sample), related.TOKENS)
        value = related.agreement(self.reference, self.candidate, view.source, rows)
        explanation = related.explain_agreement(value, len(rows))
        if isinstance(explanation, str):
            raise _UnexplainedError(explanation)
        self.explanations = [explanation]
        self.residual = explanation.residual
        raise _RelatedError

    # --- what is left ----------------------------------------------------------------------------------------------

    def _others(self, view: View, rounding: _Rounding) -> None:
        """Rows that are no reference row's any more, then what is left of the others."""
        floor = ROUGH * rounding.error
        compared = view.compared()
        has_source = view.source >= 0
        is_lost = has_source & ~np.isfinite(compared.distance)
        is_zero = has_source & (self.candidate.norms.cpu().numpy() == 0) & ~(compared.distance <= floor)
        was_whole = torch.isfinite(self.reference.norms).cpu().numpy()
        is_lost &= was_whole[np.maximum(view.source, 0)]
        plain = has_source & ~is_lost & ~is_zero & np.isfinite(compared.distance)
        cosines = compared.cosine[plain]
        middle, width = np.nanmedian(cosines), 1.4826 * np.nanmedian(np.abs(cosines - np.nanmedian(cosines)))
        is_settled = self._is_settled(view, rounding)
        foreign = min(COUNTERPART if is_settled else FOREIGN, middle - 6 * width)
        far = 0.0 if is_settled else max(COUNTERPART, FAR * float(np.median(compared.distance[plain])))
        is_foreign = plain & (compared.cosine < foreign) & (compared.distance > far)
        is_off = plain & (compared.distance > floor) & ~is_foreign if is_settled else np.zeros_like(plain)
        is_off &= ~_is_reached(view, rounding, is_off, ROUGH)
        if isinstance(rounding.cause, Grid):
            is_rounded = _is_reached(view, rounding, is_zero | is_foreign, FARTHEST)
            is_zero, is_foreign = is_zero & ~is_rounded, is_foreign & ~is_rounded
        if (
            is_foreign.sum() > (1 - MOSTLY) * is_off.sum()
            and is_off.sum()
            and is_foreign.sum() >= MOSTLY * (is_off.sum() + is_foreign.sum())
        ):
            is_foreign, is_off = is_foreign | is_off, np.zeros_like(is_off)
        for rows in map(np.flatnonzero, (is_lost, is_zero, is_foreign)):
            if len(rows):
                self._overwritten(view, rows)
        if is_settled:
            if is_off.any():
                self._left(view, np.flatnonzero(is_off), some=True)
            return
        self._left(view, np.flatnonzero(plain & ~is_foreign), some=False)

    def _is_settled(self, view: View, rounding: _Rounding) -> bool:
        """Whether rounding accounts for all that is left: rows taken as they are must round to just these values."""
        if view.maps:
            return self.residual <= ROUGH * rounding.error
        if isinstance(rounding.cause, Cast):
            held = view.sample[1]
            self.residual = trial((rounding.cause,), rounding.cause(view.predicted(held)), view.actual(held)).left
        return self.residual <= ROUGH * rounding.as_stored

    def _overwritten(self, view: View, rows: Ints) -> None:
        explanation = overwritten.overwritten(view, rows)
        if explanation is None:
            named = ", ".join(repr(self.candidate.token(int(row))) for row in rows[:5])
            raise _UnexplainedError(f"rows that are neither their old selves nor anything known: {len(rows)} ({named})")
        self.explanations.append(explanation)

    def _left(self, view: View, rows: Ints, *, some: bool) -> None:
        drawn = sampled(rows, 3 * len(view.sample[1]) if some else max(4_000, 4 * self.candidate.width))
        predicted, actual = view.predicted(drawn), view.actual(drawn)
        whole = view.actual(view.sample[0])
        spread = float(whole.var(0, correction=0).sum().sqrt())
        last = len(self.reference.vectors) - 1
        beside = [view.through(np.clip(view.source[drawn] + step, 0, last)) for step in (-1, 1)]
        left = residual.Left(drawn, predicted, actual - predicted, spread, beside)
        explanation = residual.explain_rows(view, left, rows) if some else residual.explain_left(left)
        if isinstance(explanation, str):
            raise _UnexplainedError(explanation)
        self.explanations.append(explanation)

    def _sizes(self, view: View) -> None:
        """Rows that one of the two lacks."""
        new = np.flatnonzero(view.source == -1)
        if len(new):
            self.explanations.append(overwritten.new_rows(view, new))
        lost = moved.truncated(view)
        if lost is not None and not any(e.cause == "rows_shifted" for e in self.explanations):
            self.explanations.append(lost)


class _RelatedError(_UnexplainedError):
    """Not row by row, but as wholes."""


def _alike_rows(a: Tensor, b: Tensor) -> Tensor:
    """(n,) the rows to fit on: those that are what they were, where most are; otherwise all."""
    centers = a.median(0).values, b.median(0).values
    cosine = torch.nn.functional.cosine_similarity(a - centers[0], b - centers[1], dim=1)
    return (
        cosine >= COUNTERPART if float((cosine > MOSTLY).double().mean()) > COUNTERPART else torch.ones_like(cosine) > 0
    )


def _alike(view: View, rows: Ints) -> float:
    """Share of some rows that lie about where their sources do."""
    known = rows[view.source[rows] >= 0]
    if not len(known):
        return 0.0
    a, b = view.predicted(known), view.actual(known)
    near = torch.linalg.vector_norm(b - a, dim=1) < COUNTERPART * torch.linalg.vector_norm(b, dim=1)
    return float(near.double().sum()) / len(rows)


def _is_reached(view: View, rounding: _Rounding, is_asked: Bools, times: float) -> Bools:
    """(V,) which of some rows are no farther from their prediction than so many times what rounding takes from each."""
    rows, is_reached = np.flatnonzero(is_asked), np.zeros_like(is_asked)
    is_reached[rows] = view.compared().distance[rows] <= times * rounding.errors(view.actual(rows)).numpy()
    return is_reached


def _identical(view: View) -> Explanation:
    before, after = view.reference.provenance.dtype, view.candidate.provenance.dtype
    as_what = "" if before == after else f", kept as {after} instead of {before}"
    unequal = int((~view.compared().is_equal[view.source >= 0]).sum())
    but = f", {unequal} of them but for their last digits" if unequal else ""
    return Explanation(
        "identical",
        {"rows": len(view.source), "unequal": unequal},
        sentence=f"all {len(view.source)} rows are the reference's{as_what}{but}",
        remedy="nothing to do",
    )


def _reordered(count: int, rows: Ints) -> Explanation:
    return Explanation(
        "reordered",
        {"moved": count},
        rows=tuple(rows.tolist()),
        sentence=f"{count} tokens have other ids, and their rows moved with them",
        remedy="nothing to do where rows are read by token; ids that were stored elsewhere point at other tokens now",
    )


def _other_tokens(reference: EmbeddingTable, candidate: EmbeddingTable, rows: Ints) -> Explanation:
    row = int(rows[0])
    return Explanation(
        "other_tokenizer",
        {"rows": len(rows)},
        rows=tuple(rows.tolist()),
        sentence=f"{len(rows)} rows are under other tokens: #{row} was {reference.token(row)!r} and is "
        f"{candidate.token(row)!r}",
        remedy="ship the tokenizer that the rows were trained with",
    )
