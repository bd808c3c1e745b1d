"""What a process read or worked out and wants again: tensors in a file without a name, which goes when it does."""

from __future__ import annotations

import math
import tempfile
from contextlib import suppress
from threading import Lock
from typing import IO, TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

__all__ = ["Spool"]

_ALIGNED = 64  # bytes at whose multiples tensors begin


class Spool:
    """Tensors by names. They come back mapped: of large ones no more is read than is looked at."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._kept: dict[str, tuple[int, torch.dtype, tuple[int, ...]]] = {}
        self._end = 0
        self._lock = Lock()

    def get(self, name: str) -> Tensor | None:
        """The tensor of that name, ``None`` where there is none yet."""
        if self._file is None or name not in self._kept:
            return None
        start, dtype, shape = self._kept[name]
        size = math.prod(shape) * dtype.itemsize
        if not size:
            return torch.empty(shape, dtype=dtype)
        return torch.from_numpy(np.memmap(self._file, np.uint8, "c", start, (size,))).view(dtype).view(shape)

    def keep(self, name: str, make: Callable[[], Iterable[Tensor]]) -> Tensor | None:
        """The tensor of that name, made of blocks of its rows where it is not there; ``None`` where a disk is full."""
        with self._lock:
            if name not in self._kept:
                with suppress(OSError):
                    self._keep(name, make())
        return self.get(name)

    def _keep(self, name: str, blocks: Iterable[Tensor]) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        rows, end, dtype, shape = 0, self._file.seek(self._end), torch.float32, [0]
        for block in blocks:
            end += self._file.write(block.contiguous().view(-1).view(torch.uint8).numpy().data)
            rows, dtype, shape = rows + len(block), block.dtype, list(block.shape[1:])
        self._file.flush()
        self._kept[name] = self._end, dtype, (rows, *shape)
        self._end = math.ceil(end / _ALIGNED) * _ALIGNED

    def close(self) -> None:
        """Close the file, which Python else complains of."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
