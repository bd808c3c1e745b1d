"""The hash of a matrix, worked out some rows at a time."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

from embcheck.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

__all__ = ["Hashing"]


class Hashing:
    """SHA-256 over the bytes of blocks of rows on the host, in their order.

    Reading them may take long: who waits for something else can go on with it meanwhile.
    """

    def __init__(self, blocks: Iterable[Tensor]) -> None:
        self._blocks = iter(blocks)
        self._digest = hashlib.sha256()
        self._failed: SourceError | None = None

    def step(self) -> bool:
        """Hash the next block; whether there was one."""
        try:
            block = next(self._blocks, None)
        except SourceError as error:
            block, self._failed = None, error
        if block is not None:
            self._digest.update(block.contiguous().view(torch.uint8).numpy().data)
        return block is not None

    def hexdigest(self) -> str:
        """The hash, once all is read. Raises `SourceError` where a block can't be read."""
        while self.step():
            pass
        if self._failed is not None:
            raise self._failed
        return self._digest.hexdigest()
