"""Hashes: of a matrix, worked out some rows at a time, and of whatever a result hangs on."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embcheck.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

__all__ = ["Hashing", "digest"]


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


def digest(given: Any) -> str:
    """A hash of numbers, texts, arrays, functions and what is made of them: equal for equal ones, in any process."""
    made = hashlib.sha256()
    _feed(made, given)
    return made.hexdigest()


def _feed(made: Any, given: Any) -> None:
    if isinstance(given, torch.Tensor):
        given = given.detach().cpu().contiguous()
        made.update(f"{given.dtype}{tuple(given.shape)}".encode())
        made.update(given.flatten().view(torch.uint8).numpy().data)
    elif isinstance(given, np.ndarray):
        made.update(f"{given.dtype}{given.shape}".encode())
        made.update(np.ascontiguousarray(given).view(np.uint8).data)
    elif isinstance(given, (tuple, list)):
        made.update(f"({len(given)}".encode())
        for each in given:
            _feed(made, each)
    elif dataclasses.is_dataclass(given) and not isinstance(given, type):
        made.update(type(given).__qualname__.encode())
        for field in dataclasses.fields(given):
            _feed(made, getattr(given, field.name))
    elif hasattr(given, "func"):  # a functools.partial
        _feed(made, (given.func, given.args, tuple(sorted(given.keywords.items()))))
    elif callable(given):
        made.update(f"{getattr(given, '__module__', None)}.{getattr(given, '__qualname__', given)}".encode())
    else:
        made.update(f"{type(given).__name__}:{given!r}".encode())
