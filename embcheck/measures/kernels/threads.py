"""Independent pieces of one measure on all threads, each piece on one: a product, and what is done with it."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from threading import local
from typing import TYPE_CHECKING, TypeVar

import torch

from embcheck.progress import track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

__all__ = ["Memory", "on_threads"]

_Piece = TypeVar("_Piece")
_Result = TypeVar("_Result")


def on_threads(
    work: Callable[[_Piece], _Result], pieces: Sequence[_Piece], device: torch.device, what: str
) -> Iterator[_Result]:
    """What ``work`` gives for each piece, in order: on the CPU by as many threads as PyTorch has, elsewhere by one.

    The threads are PyTorch's only while the iterator is read to its end, or closed.
    """

    def run(piece: _Piece) -> _Result:
        with torch.inference_mode():  # which holds for a single thread
            return work(piece)

    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads == 1 or len(pieces) == 1:
        yield from (run(piece) for piece in track(pieces, what))
        return
    pool = ThreadPoolExecutor(threads, "embcheck", initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from track(pool.map(run, pieces), what, total=len(pieces))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


class Memory(local):
    """Memory for one block after the other, for every thread its own.

    Freed and asked for again, large blocks leave holes between small ones, and their pages are cleared each time.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._kept = torch.empty(0, dtype=dtype, device=device)

    def __call__(self, *shape: int) -> Tensor:
        """A tensor of a shape, with anything in it; the one before it on this thread is no longer to be used."""
        cells = math.prod(shape)
        if self._kept.numel() < cells:
            self._kept = self._kept.new_empty(cells)
        return self._kept[:cells].view(shape)
