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

__all__ = ["column_totals", "non_negative", "row_totals", "tolerance"]

Mask = Any
"""Which cells of a product are at zero or above: (m, n) booleans, in NumPy on the CPU and in PyTorch elsewhere."""

_DENSE = 0.02  # share of unsure cells from which a whole product is computed in float64
_CELLS = 2**17  # numbers gathered at once for single cells: 1 MB


def tolerance(width: int, device: torch.device) -> float:
    """Distance of a cosine from zero below which the sign of a fast product is not trusted."""
    return (2 if device.type == "cpu" else 4) * float(np.sqrt(width) + 1) * 2.0**-24


def non_negative(product: Tensor, limits: Tensor, stored: Callable[[], tuple[Tensor, Tensor]]) -> Mask:
    """Which cosines of two sets of rows are zero or more.

    Parameters
    ----------
    product
        (m, n) cosines, or products of the rows as they are, in any float type.
    limits
        (m,) float32: for each row of it, the size below which a sign is not trusted.
    stored
        Gives the rows, (m, d) and (n, d), as they are stored; asked only where a sign is in doubt.
    """
    mask: Mask
    first: Any
    second: Any
    if product.device.type == "cpu":
        mask, near = _split(product, limits)
        first, second = np.divmod(np.flatnonzero(near), product.shape[1])  # many times faster than nonzero
    else:
        mask = product >= 0
        first, second = torch.nonzero(product.abs() < _above(limits, product.dtype)[:, None], as_tuple=True)
    if len(first) > _DENSE * product.numel():
        dense = _dense(*stored())
        return dense.numpy() if isinstance(mask, np.ndarray) else dense
    if len(first):
        signs = _cells(*stored(), torch.as_tensor(first), torch.as_tensor(second))
        mask[first, second] = signs.numpy() if isinstance(mask, np.ndarray) else signs
    return mask


def _split(product: Tensor, limits: Tensor) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Cells at zero or above, and cells too near to zero, by NumPy: its loops over small types are the faster ones."""
    if product.dtype == torch.float32:
        cells = product.numpy()
        return cells >= 0, np.abs(cells) < limits.numpy()[:, None]
    # 16-bit floats as whole numbers: the sign is theirs, and without it they are ordered as their sizes are
    bits = product.view(torch.int16).numpy()
    upper = _above(limits, product.dtype).view(torch.int16).numpy().view(np.uint16)
    return bits >= 0, (bits.view(np.uint16) << np.uint16(1)) < (upper << np.uint16(1))[:, None]


def _above(limits: Tensor, dtype: torch.dtype) -> Tensor:
    """Limits in another type, not rounded below what they are."""
    if dtype == torch.float32:
        return limits
    return torch.nextafter(limits.to(dtype), torch.tensor(torch.inf, dtype=dtype, device=limits.device))


def _cells(first: Tensor, second: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Signs of single cells (i, j)."""
    step = max(1, _CELLS // first.shape[1])
    wide = _wide(first.device)
    parts = []
    for start in range(0, len(i), step):
        a, b = first[i[start : start + step]].to(wide), second[j[start : start + step]].to(wide)
        parts.append(_sign((a * b).sum(1), a.norm(dim=1) * b.norm(dim=1), first.shape[1]))
    return torch.cat(parts)


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
