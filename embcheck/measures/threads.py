"""Independent pieces of one measure on all threads, each piece on one: a product, and what is done with it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import torch

from embcheck.progress import track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["on_threads"]

_Piece = TypeVar("_Piece")
_Found = TypeVar("_Found")


def on_threads(
    work: Callable[[_Piece], _Found], pieces: Sequence[_Piece], device: torch.device, what: str
) -> Iterator[_Found]:
    """What ``work`` gives for each piece, in order: on the CPU by as many threads as PyTorch has, elsewhere by one.

    The threads are PyTorch's only while the iterator is read to its end, or closed.
    """

    def one(piece: _Piece) -> _Found:
        with torch.inference_mode():  # which holds for a single thread
            return work(piece)

    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads == 1 or len(pieces) == 1:
        yield from (one(piece) for piece in track(pieces, what))
        return
    torch.set_num_threads(1)  # threads that begin later take it over
    pool = ThreadPoolExecutor(threads, thread_name_prefix="embcheck")
    try:
        yield from track(pool.map(one, pieces), what, total=len(pieces))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
