"""Values on the grids that quantization leaves: which type, guessed from the values alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from embcheck.diagnosis.explanation import Explanation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor

__all__ = ["Grid", "grid_of"]

_ROWS = 64
SHARE = 0.97  # of blocks that lie on the grid
_NF4 = (-1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0, 0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626)
_BYTE = 255  # steps
_OFF = 0.05  # of a step that a lattice may miss zero by
_Steps = tuple["Tensor", "Tensor"]  # (blocks,) step, and whether the block lies on a grid of that step
_Type = tuple[str, float, int, "Callable[[Tensor], _Steps]"]  # name, bits a value, values in a block, and a test


@dataclass(frozen=True, eq=False)
class Grid:
    """A type of quantization, and the rounding that it leaves."""

    kind: str
    bits: float
    step: float
    """Root mean square of the blocks' steps; where one holds for the whole table, that one."""
    size: int
    """Values in a block."""
    test: Callable[[Tensor], _Steps]

    def errors(self, rows: Tensor) -> Tensor:
        r"""(n,) root mean square length of what rounding takes from each row: its blocks' :math:`s^2 / 12` a value.

        A block whose largest value stands far out has a wide step, and so has a row of such blocks.
        """
        step, is_on = self.test(rows.reshape(-1, self.size))
        squares = torch.where(is_on, step, 0.0).square() * (self.size / 12)
        return squares.reshape(len(rows), rows.shape[1] // self.size).sum(1).sqrt()

    def explain(self, _width: int) -> Explanation:
        """The type."""
        each = "" if "per tensor" in self.kind else " in the root mean square"
        return Explanation(
            "quantized",
            {"type": self.kind, "bits": self.bits, "step": self.step},
            sentence=f"values lie on the grid of {self.kind}, about {self.bits:g} bits a value, in steps of "
            f"{self.step:.3g}{each}",
            remedy="what is lost is lost; if a claim fails by it, keep the embedding at more bits (quantizers can "
            "leave that one tensor out) or take an importance matrix",
        )


def grid_of(rows: Tensor, largest: float, ulp: float) -> Grid | None:
    """The coarsest grid that (n, d) values lie on, and its type; none where they lie on none.

    ``largest`` is the largest magnitude of the whole tensor, ``ulp`` the relative error of the float they are kept in.
    """
    if rows.shape[1] < 8:
        return None
    rows = rows[:: max(1, len(rows) // _ROWS)]  # of all ids: the first ones may be names that nothing was trained on
    for kind, bits, size, test in (*_whole_types(rows, largest, ulp), *_types(ulp)):
        width = rows.shape[1] if size == 0 else size
        if rows.shape[1] % width:
            continue
        blocks = rows.reshape(-1, width)
        blocks = blocks[(blocks != blocks[:, :1]).any(1)]
        if len(blocks) < 4:
            continue
        step, is_on = test(blocks)
        if float(is_on.double().mean()) >= SHARE:
            return Grid(kind, bits, float(step[is_on].square().mean().sqrt()), width, test)
    return None


def _whole_types(rows: Tensor, largest: float, ulp: float) -> Iterator[_Type]:
    """Types with one step for all values: the one that is read off most rows, or that of the largest."""
    steps, is_on = _spaced(rows, levels=_BYTE, ulp=ulp)
    if is_on.any():
        step, values = float(steps[is_on].median()), rows[is_on]
        base = float(_nearest_zero(values.reshape(1, -1)))
        bits = 4 if max(largest, float(values.max() - values.min())) < 16 * step else 8
        off = ", asymmetric" if abs(base / step - round(base / step)) > _OFF else ""
        yield f"int{bits} per tensor{off}", bits, 0, partial(_fixed, step=step, base=base, ulp=ulp, levels=_BYTE)
    for levels in (127, 128):
        yield "int8 per tensor", 8, 0, partial(_fixed, step=largest / levels, ulp=ulp, levels=levels)


def _types(ulp: float) -> Iterator[_Type]:
    """Types of blocks, from large blocks to small, in each from few bits to many; 0 for a block of a row."""
    for size, where in ((0, "per row"), (128, "in groups of 128"), (64, "in groups of 64")):
        yield f"int4 {where}", 4, size, partial(_any, test=_ends, levels=range(1, 16), ulp=ulp)
        yield f"int4 {where}", 4, size, partial(_peak, levels=7, ulp=ulp)
        if size == 0:
            yield "int8 per row", 8, size, partial(_any, test=_peak, levels=(127, 128), ulp=ulp)
            yield "int8 per row, asymmetric", 8, size, partial(_ends, levels=_BYTE, ulp=ulp)
            yield "int8 per row", 8, size, partial(_spaced, levels=_BYTE, ulp=ulp)
        else:
            yield f"int8 {where}", 8, size, partial(_peak, levels=127, ulp=ulp)
    yield "int4 in groups of 32", 4, 32, partial(_peak, levels=7, ulp=ulp)
    yield "NF4", 4.5, 64, partial(_codebook, ulp=ulp)
    yield "Q4_0", 4.5, 32, partial(_signed, levels=8, ulp=ulp)
    yield "Q4_1", 5, 32, partial(_ends, levels=15, ulp=ulp)
    yield "Q4_K", 4.5, 32, partial(_any, test=_ends, levels=range(1, 16), ulp=ulp)
    yield "Q5_0", 5.5, 32, partial(_signed, levels=16, ulp=ulp)
    yield "Q5_1", 6, 32, partial(_ends, levels=31, ulp=ulp)
    yield "Q5_K", 5.5, 32, partial(_any, test=_ends, levels=range(1, 32), ulp=ulp)
    yield "Q8_0", 8.5, 32, partial(_peak, levels=127, ulp=ulp)
    yield "Q2_K", 2.6, 16, partial(_any, test=_ends, levels=range(1, 4), ulp=ulp)
    yield "Q3_K", 3.4, 16, partial(_any, test=_peak, levels=range(1, 5), ulp=ulp)
    yield "Q6_K", 6.6, 16, partial(_any, test=_peak, levels=range(1, 33), ulp=ulp)


def _on(quotients: Tensor, magnitude: Tensor, ulp: float) -> Tensor:
    """(blocks,) whether all quotients by the step are whole, as far as the float they are kept in can say."""
    tolerance = (0.01 + 1.5 * ulp * magnitude[:, None]).clamp(max=0.2)
    return ((quotients - quotients.round()).abs() <= tolerance).all(1)


def _fixed(blocks: Tensor, *, step: float, ulp: float, levels: int, base: float = 0.0) -> _Steps:
    quotients = (blocks - base) / step
    used = quotients.round().abs().amax(1)
    steps = blocks.new_full((len(blocks),), step)
    return steps, _on(quotients, used, ulp) & (used <= levels)


def _spaced(blocks: Tensor, *, levels: int, ulp: float) -> _Steps:
    """Equal steps, at most so many, as wide as neighboring values are apart: whatever they were made of may be gone."""
    gaps = blocks.sort(1).values.diff(dim=1)
    least = torch.where(gaps > 0, gaps, math.inf).amin(1, keepdim=True)
    is_one = (gaps > 0) & (gaps < 1.5 * least)
    step = torch.where(is_one, gaps, 0.0).sum(1, keepdim=True) / is_one.sum(1, keepdim=True)
    count = (gaps / step).round().sum(1, keepdim=True)
    step = (blocks.amax(1, keepdim=True) - blocks.amin(1, keepdim=True)) / count
    used = (blocks.abs().amax(1, keepdim=True) / step)[:, 0]
    return step[:, 0], _on((blocks - _nearest_zero(blocks)) / step, used, ulp) & (count[:, 0] <= levels)


def _nearest_zero(blocks: Tensor) -> Tensor:
    """(blocks, 1) the value of least magnitude, which floats keep best."""
    return blocks.gather(1, blocks.abs().argmin(1, keepdim=True))


def _peak(blocks: Tensor, *, levels: int, ulp: float) -> _Steps:
    """Whole multiples, the largest magnitude so many."""
    step = blocks.abs().amax(1) / levels
    return step, _on(blocks / step[:, None], torch.full_like(step, levels), ulp)


def _signed(blocks: Tensor, *, levels: int, ulp: float) -> _Steps:
    """Whole multiples from -levels to levels - 1, the value of largest magnitude being -levels."""
    peak = blocks.gather(1, blocks.abs().argmax(1, keepdim=True))[:, 0]
    quotients = blocks / (peak / -levels)[:, None]
    is_within = quotients.amax(1) < levels - 0.5
    return peak.abs() / levels, _on(quotients, torch.full_like(peak, levels), ulp) & is_within


def _ends(blocks: Tensor, *, levels: int, ulp: float) -> _Steps:
    """So many equal steps from the least value to the greatest."""
    low, high = blocks.amin(1), blocks.amax(1)
    step = (high - low) / levels
    magnitude = blocks.abs().amax(1) / step
    return step, _on((blocks - low[:, None]) / step[:, None], magnitude, ulp)


def _any(blocks: Tensor, *, test: Callable[..., _Steps], levels: Iterable[int], ulp: float) -> _Steps:
    """The first of these numbers of levels with which a block passes a test."""
    best, is_on = blocks.new_zeros(len(blocks)), torch.zeros(len(blocks), dtype=torch.bool)
    for number in levels:
        step, fits = test(blocks, levels=number, ulp=ulp)
        best = torch.where(fits & ~is_on, step, best)
        is_on |= fits
    return best, is_on


def _codebook(blocks: Tensor, *, ulp: float) -> _Steps:
    """NF4 of bitsandbytes (Dettmers et al. 2023): quantiles of a normal distribution, by each block's largest."""
    levels = blocks.new_tensor([*_NF4, 0.7230, 1.0])
    peak = blocks.abs().amax(1)
    shares = blocks / peak[:, None]
    apart = (shares[..., None] - levels).abs().amin(-1)
    return peak / 8, (apart <= 1e-3 + ulp).all(1)
