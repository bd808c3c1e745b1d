r"""Signs of cosines, exact: those that a fast product can't be trusted with are worked out again from the stored rows.

A product of rows of width d in float32, or in bfloat16 with float32 sums, is wrong by less than
:math:`\lambda \sqrt d\, 2^{-24} S` (rounding errors that don't conspire: Higham and Mary, SIAM J. Sci. Comput. 41,
2019), where S is the largest sum on the way. Where the whole sum is near zero, its positive and its negative terms are
as large, each at most half of :math:`|x| |y|`, and so is S. With lambda 2 on the CPU, where sums are rounded to
nearest, that is :math:`\sqrt d\, 2^{-24} |x| |y|`; on CUDA, whose tensor cores truncate, four times that is allowed.
Cells nearer to zero are computed in float64, where a product of two stored numbers is exact; a cosine within
:math:`d\, 2^{-53}` of zero there is a tie, which counts as zero. So counts depend neither on the size and order of
blocks, nor on threads, nor on the type or device of the fast product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from embcheck.measures.kernels.blocks import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.stats import Bools, Ints

__all__ = ["Cells", "Side", "Tally", "count", "of_pairs", "row_totals", "set_bits", "settle", "together", "tolerance"]

DENSE = 0.02  # share of unsure cells from which a whole product is computed in float64
_MANY = 0.002  # share of cells near zero from which their own bounds are looked at before they are kept
_CELLS = 2**18  # numbers gathered at once for single cells: few calls, between which threads wait for another
_CHUNK = 2**21  # cells compared at once, of products that are no larger as a rule
_BYTE = 255  # rows whose true cells can be added up in bytes
_WORD = 64

_MASKS = Memory(torch.bool, torch.device("cpu"))

Cells = tuple["Tensor", "Tensor", "Tensor"]
"""Single cells: (k,) places of the first row, (k,) of the second, and (k,) values of their fast product."""


class Side(NamedTuple):
    """The rows on one side of a product, whose places are 0, 1 and so on."""

    matrix: Tensor
    """(V, d) as stored."""
    norms: Tensor
    """(V,) in the widest float."""
    ids: Tensor
    """Which row of the matrix is at each place."""

    def rows(self, places: slice, center: Tensor | None = None) -> Tensor:
        """(n, d) rows as they are stored, or float32 ones less a vector."""
        stored = self.matrix[self.ids[places]]
        return stored if center is None else stored.float() - center


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """What is sure of a product's signs, and which cells are in doubt: those are counted nowhere yet."""

    rows: Any
    """(m,) how many cells of each row are zero or more, in NumPy on the CPU and in PyTorch elsewhere."""
    columns: Any
    """(n,) how many of each column, where that was asked for."""
    near: Tensor
    """(k,) where cells too near to zero are, row by row."""

    def cells(self, product: Tensor, first: int, second: int) -> Cells:
        """The cells in doubt, of a product whose rows and columns have their places from ``first``, ``second`` on."""
        width = product.shape[1]
        return self.near // width + first, self.near % width + second, product.reshape(-1)[self.near]


def tolerance(width: int, device: torch.device) -> float:
    """Distance of a cosine from zero below which the sign of a fast product is not trusted."""
    return (1 if device.type == "cpu" else 4) * float(np.sqrt(width) + 1) * 2.0**-24


def count(
    product: Tensor,
    limit: Tensor | float,
    rows: Callable[[], tuple[Tensor, Tensor]],
    *,
    bounds: tuple[Tensor, Tensor] | None = None,
    columns: bool = True,
) -> Tally:
    """How many cells of a product, (m, n) cosines or products of rows as they are, are zero or more.

    Those nearer to zero than ``limit`` are in doubt and left to `settle`. ``bounds``, (m,) and (n,) numbers whose
    products bound single cells, leave fewer in doubt where rows differ much in length. ``rows`` gives the rows as they
    are stored; it is asked only where so many cells are in doubt, as with rows that are sparse or take few values, that
    the whole product is worked out in float64. Cells of minus infinity count nowhere.
    """
    above = torch.as_tensor(limit, device=product.device).to(product.dtype)
    above = torch.nextafter(above, torch.full_like(above, torch.inf))
    tally = (_count if product.device.type == "cpu" else _count_there)(product, above, columns=columns)
    if bounds is not None and len(tally.near) > _MANY * product.numel():
        tally = _narrow(tally, product, bounds)
    if len(tally.near) <= DENSE * product.numel():
        return tally
    mask = _dense(*rows()) & (product > -torch.inf)
    totals = mask.sum(1), mask.sum(0)
    if product.device.type == "cpu":
        return Tally(totals[0].numpy(), totals[1].numpy(), tally.near[:0])
    return Tally(*totals, tally.near[:0])


def _narrow(tally: Tally, product: Tensor, bounds: tuple[Tensor, Tensor]) -> Tally:
    """The same with those cells near zero counted that their own bounds leave no doubt of."""
    i, j, values = tally.cells(product, 0, 0)
    unsure = _in_doubt(values, bounds[0][i] * bounds[1][j])
    sure = ~unsure & (values >= 0)
    rows, columns = (torch.bincount(at[sure], minlength=size) for at, size in zip((i, j), product.shape, strict=True))
    if product.device.type == "cpu":
        return Tally(tally.rows + rows.numpy(), tally.columns + columns.numpy(), tally.near[unsure])
    return Tally(tally.rows + rows, tally.columns + columns, tally.near[unsure])


def _in_doubt(values: Tensor, bounds: Tensor | float) -> Tensor:
    """Which values are below their bounds in size, or may have been before they were rounded."""
    return values.float().abs() < bounds * (1 + torch.finfo(values.dtype).eps)


def _count(product: Tensor, limit: Tensor, *, columns: bool = True) -> Tally:
    """By NumPy, whose loops over small types are the faster ones, in few calls, between which threads wait.

    Comparisons are packed to bits: 64 cells at a time are counted, or found to lie on either side of zero.
    """
    m, n = product.shape
    step, words = max(1, min(m, _CHUNK // n)), -(-n // _WORD)
    rows, totals, near = np.zeros(m, dtype=np.int64), np.zeros(words * _WORD, dtype=np.int64), []
    masks = _MASKS(2, step, words * _WORD).numpy()
    masks[:, :, n:] = False
    for start in range(0, m, step):
        above, upward = masks[:, : m - start]
        _compare(product[start : start + step], limit, above[:, :n], upward[:, :n])
        bits = np.packbits(above).view(np.uint64)
        rows[start : start + step] = np.bitwise_count(bits).reshape(-1, words).sum(1, dtype=np.int64)
        for first in range(0, len(above), _BYTE) if columns else ():
            totals += np.add.reduce(above[first : first + _BYTE].view(np.uint8), axis=0, dtype=np.uint8)
        between = np.bitwise_xor(bits, np.packbits(upward).view(np.uint64), out=bits)
        row, column = np.divmod(set_bits(between), words * _WORD)
        near.append((row + start) * n + column)
    return Tally(rows, totals[:n], torch.from_numpy(np.concatenate(near)))


def _compare(cells: Tensor, limit: Tensor, above: Bools, upward: Bools) -> None:
    """Which cells are not below a limit, and which are not below its negative either."""
    if cells.dtype == torch.float32:
        values, bound = cells.numpy(), np.float32(limit)
        np.greater_equal(values, bound, out=above)
        np.greater(values, -bound, out=upward)
        return  # 16-bit floats are ordered as whole numbers where they are positive, the other way round where negative
    bits, upper = cells.view(torch.int16).numpy(), limit.view(torch.int16).numpy()[()]
    np.greater_equal(bits, upper, out=above)
    np.less(bits.view(np.uint16), np.uint16(0x8000) + upper.view(np.uint16), out=upward)


def _count_there(product: Tensor, limit: Tensor, *, columns: bool = True) -> Tally:
    """The same in PyTorch, for other devices."""
    above, near = product >= limit, torch.nonzero((product.abs() < limit).flatten())[:, 0]
    return Tally(above.sum(1), above.sum(0) if columns else above.new_zeros(above.shape[1], dtype=torch.int64), near)


def together(parts: Sequence[Cells]) -> Cells:
    """Cells of several products as those of one."""
    first, second, values = zip(*parts, strict=True)
    return torch.cat(first), torch.cat(second), torch.cat(values)


def settle(
    sides: tuple[Side, Side], cells: Cells, bounds: Tensor | float, center: Tensor | None = None
) -> tuple[Ints, Ints]:
    """Places of those cells in doubt that are zero or more: (k,) of the first rows, and (k,) of the second.

    ``bounds`` say how near to zero a cell has to be for its sign not to be trusted, one number for all or (k,).
    """
    first, second, values = cells
    holds = values >= 0
    unsure = _in_doubt(values, bounds)
    holds[unsure] = of_pairs(sides, first[unsure], second[unsure], center)
    return first[holds].cpu().numpy(), second[holds].cpu().numpy()


def of_pairs(sides: tuple[Side, Side], first: Tensor, second: Tensor, center: Tensor | None = None) -> Tensor:
    """(k,) whether cosines of single pairs of rows, given by their places, are zero or more: exact."""
    width, device, wide = sides[0].matrix.shape[1], first.device, _wide(first.device)
    holds, step = torch.empty(len(first), dtype=torch.bool, device=device), max(1, _CELLS // width)
    kept = [(Memory(side.matrix.dtype, device), Memory(wide, device)) for side in sides]
    for start in range(0, len(first), step):
        ids = [s.ids[p[start : start + step]] for s, p in zip(sides, (first, second), strict=True)]
        shape, rows = (len(ids[0]), width), []
        for side, own, (narrow, memory) in zip(sides, ids, kept, strict=True):
            picked = torch.index_select(side.matrix, 0, own, out=narrow(*shape))
            rows.append(memory(*shape).copy_(picked if center is None else picked.float() - center))
        if center is None:
            lengths = sides[0].norms[ids[0]] * sides[1].norms[ids[1]]
        else:
            lengths = rows[0].norm(dim=1) * rows[1].norm(dim=1)
        holds[start : start + step] = _sign(torch.linalg.vecdot(*rows), lengths.to(wide), width)
    return holds


def _dense(first: Tensor, second: Tensor) -> Tensor:
    """Signs of all cells: many are unsure where rows are sparse, or take few values."""
    a, b = first.to(_wide(first.device)), second.to(_wide(first.device))
    return _sign(a @ b.T, a.norm(dim=1)[:, None] * b.norm(dim=1), first.shape[1])


def _sign(products: Tensor, lengths: Tensor, width: int) -> Tensor:
    return products >= -width * 2.0**-53 * lengths


def _wide(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


def set_bits(words: NDArray[np.uint64]) -> Ints:
    """Places of the bits that are set, as `numpy.packbits` packs them; fast where few are."""
    at = np.flatnonzero(words)
    which, bit = np.divmod(np.flatnonzero(np.unpackbits(words[at].view(np.uint8))), _WORD)
    return at[which] * _WORD + bit


def row_totals(mask: Any) -> Any:
    """(m,) how many cells of each row of (m, n) booleans are true, in NumPy or PyTorch."""
    if not isinstance(mask, np.ndarray):
        return mask.sum(1)
    words = np.packbits(mask, axis=1)
    if words.shape[1] % 8 == 0:
        words = words.view(np.uint64)
    return np.bitwise_count(words).sum(1, dtype=np.int64)
