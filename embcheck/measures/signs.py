r"""Signs of cosines, exact: those that a fast product can't be trusted with are worked out again from the stored rows.

A product of rows of width d in float32, or in bfloat16 with float32 sums, is wrong by less than
:math:`\lambda \sqrt d\, 2^{-24} |x| |y|` (rounding errors that don't conspire: Higham and Mary, SIAM J. Sci. Comput.
41, 2019), with lambda 2 where sums are rounded to nearest and 4 on CUDA, whose tensor cores truncate. Cells nearer to
zero than that are computed in float64, where a product of two stored numbers is exact; a cosine within
:math:`d\, 2^{-53}` of zero there is a tie, which counts as zero. So counts depend neither on the size and order of
blocks, nor on threads, nor on the type or device of the fast product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["DENSE", "column_totals", "in_doubt", "non_negative", "of_cells", "row_totals", "split", "tolerance"]

Mask = Any
"""Which cells of a product are at zero or above: (m, n) booleans, in NumPy on the CPU and in PyTorch elsewhere."""

Masks = tuple["NDArray[np.bool_]", "NDArray[np.bool_]"]

DENSE = 0.02  # share of unsure cells from which a whole product is computed in float64
_CELLS = 2**15  # numbers gathered at once for single cells: 256 KB, inside the cache


def tolerance(width: int, device: torch.device) -> float:
    """Distance of a cosine from zero below which the sign of a fast product is not trusted."""
    return (2 if device.type == "cpu" else 4) * float(np.sqrt(width) + 1) * 2.0**-24


def non_negative(
    product: Tensor, limits: Tensor, factors: Tensor | None, stored: Callable[[], tuple[Tensor, Tensor]]
) -> Mask:
    """Which cosines of two sets of rows are zero or more.

    Parameters
    ----------
    product
        (m, n) cosines, or products of the rows as they are, in any float type.
    limits, factors
        (m,) and (n,) float32 of one sign: a cell of less than the product of its row's and its column's number, in
        size, is not trusted for its sign. Without factors they are all 1.
    stored
        Gives the rows, (m, d) and (n, d), as they are stored; asked only where a sign is in doubt.
    """
    mask, near = split(product, limits.max() if factors is None else limits.max() * factors.max())
    values, first, second = product.flatten()[near], near // product.shape[1], near % product.shape[1]
    unsure = in_doubt(values, limits[first] if factors is None else limits[first] * factors[second])
    if int(unsure.sum()) > DENSE * product.numel():
        dense = _dense(*stored())
        return dense.numpy() if isinstance(mask, np.ndarray) else dense
    found = values >= 0
    if unsure.any():
        rows, columns = stored()
        found[unsure] = of_cells(rows, columns, first[unsure], second[unsure])
    if isinstance(mask, np.ndarray):
        mask.reshape(-1)[near.numpy()] = found.numpy()
    else:
        mask.view(-1)[near] = found
    return mask


def in_doubt(values: Tensor, bounds: Tensor) -> Tensor:
    """Which values of a product are below their bounds in size, or may have been before they were rounded."""
    return values.float().abs() < bounds * (1 + torch.finfo(values.dtype).eps)


def split(product: Tensor, limit: Tensor, out: Masks | None = None) -> tuple[Mask, Tensor]:
    """Which cells of a product are at a limit or above it, and which lie nearer to zero, by their place row by row.

    On the CPU ``out`` are two arrays of the product's shape to work in, the first of which is returned.
    """
    above = torch.nextafter(limit.to(product.dtype), torch.full_like(limit, torch.inf, dtype=product.dtype))
    return _split(product, above, out) if product.device.type == "cpu" else _split_there(product, above)


def _split(product: Tensor, limit: Tensor, out: Masks | None = None) -> tuple[NDArray[np.bool_], Tensor]:
    """Which cells are not below a limit, and where those are that lie between it and its negative.

    By NumPy, whose loops over small types are the faster ones, with numbers in place of arrays, faster again.
    """
    above, near = out or (np.empty(product.shape, dtype=np.bool_), np.empty(product.shape, dtype=np.bool_))
    if product.dtype == torch.float32:
        cells, bound = product.numpy(), np.float32(limit)
        np.greater_equal(cells, bound, out=above)
        np.greater(cells, -bound, out=near)
    else:  # 16-bit floats are ordered as whole numbers where they are positive, and the other way round where negative
        bits, upper = product.view(torch.int16).numpy(), limit.view(torch.int16).numpy()[()]
        np.greater_equal(bits, upper, out=above)
        np.less(bits.view(np.uint16), np.uint16(0x8000) + upper.view(np.uint16), out=near)
    np.not_equal(above, near, out=near)
    return above, torch.from_numpy(np.flatnonzero(near))  # many times faster than nonzero


def _split_there(product: Tensor, limit: Tensor) -> tuple[Tensor, Tensor]:
    """The same in PyTorch, for other devices."""
    return product >= limit, torch.nonzero((product.abs() < limit).flatten())[:, 0]


def of_cells(first: Tensor, second: Tensor, i: Tensor, j: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Whether cosines of single pairs of rows are zero or more: exact.

    Parameters
    ----------
    first, second
        (m, d) and (n, d) rows, as they are stored.
    i, j
        (k,) which of them make a pair.
    lengths
        (k,) products of the lengths of each pair's rows, where they are known.
    """
    wide, width = _wide(first.device), first.shape[1]
    found = torch.empty(len(i), dtype=torch.bool, device=first.device)
    step = max(1, _CELLS // width)
    for part in (slice(start, start + step) for start in range(0, len(i), step)):
        a, b = first[i[part]].to(wide), second[j[part]].to(wide)
        both = a.norm(dim=1) * b.norm(dim=1) if lengths is None else lengths[part].to(wide)
        found[part] = _sign(torch.linalg.vecdot(a, b), both, width)
    return found


def _dense(first: Tensor, second: Tensor) -> Tensor:
    """Signs of all cells: many are unsure where rows are sparse, or take few values."""
    a, b = first.to(_wide(first.device)), second.to(_wide(first.device))
    return _sign(a @ b.T, a.norm(dim=1)[:, None] * b.norm(dim=1), first.shape[1])


def _sign(products: Tensor, lengths: Tensor, width: int) -> Tensor:
    return products >= -width * 2.0**-53 * lengths


def _wide(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


def row_totals(mask: Mask) -> Mask:
    """(m,) how many cells of each row are true."""
    if not isinstance(mask, np.ndarray):
        return mask.sum(1)
    words = np.packbits(mask, axis=1)
    if words.shape[1] % 8 == 0:
        words = words.view(np.uint64)
    return np.bitwise_count(words).sum(1, dtype=np.int64)


def column_totals(mask: Mask) -> Mask:
    """(n,) how many cells of each column are true."""
    if not isinstance(mask, np.ndarray):
        return mask.sum(0)
    ones, total = mask.view(np.uint8), np.zeros(mask.shape[1], dtype=np.int64)
    for start in range(0, len(ones), 255):  # bytes can't overflow in as many rows
        total += np.add.reduce(ones[start : start + 255], axis=0, dtype=np.uint8)
    return total
