"""Weights that ``torch.save`` wrote (.bin, .pt, .pth), in its zip format or the one before torch 1.6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError
from embcheck.sources.files.looking import disguise
from embcheck.sources.weights import torch_legacy, torch_zip
from embcheck.sources.weights.pickles import PickledTensor
from embcheck.sources.weights.stored import BITS, Stored, as_tensor

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.sources.files.access import RandomAccess

__all__ = ["TorchFile", "is_torch"]

_DEEPEST = 3  # dictionaries in dictionaries: checkpoints keep the weights under "model" or "state_dict"
_HEAD_BYTES = 512


class TorchFile:
    """The tensors of a file. Only its pickle is read here, and nothing in it is run."""

    def __init__(self, access: RandomAccess, file: str) -> None:
        self._access = access
        self._container = _open(access)
        found = self._container.content
        if not isinstance(found, dict):
            raise SourceError(f"{access.name} holds no dictionary of tensors; save the model's state_dict()")
        self._pickled = _flat(found)
        self.tensors = {name: Stored(name, file, one.shape, one.dtype) for name, one in self._pickled.items()}

    def load(self, stored: Stored) -> Tensor:
        """The numbers of one matrix, memory-mapped where the file is."""
        one = self._pickled[stored.name]
        size = BITS[stored.dtype] // 8
        span = self._span(one, stored)
        start = self._container.locate(one.storage) + one.offset * size
        return as_tensor(self._access.read(start, span * size), stored, one.strides)

    def _span(self, one: PickledTensor, stored: Stored) -> int:
        """Numbers from the first of a matrix to its last, which must lie in the storage, each of them once."""
        (rows, width), strides = one.shape, one.strides
        along, across = strides if len(strides) == 2 else (0, 0)
        by_rows = (across == 1 or width == 1) and (along >= width or rows == 1)
        by_columns = (along == 1 or rows == 1) and (across >= rows or width == 1)
        span = (rows - 1) * along + (width - 1) * across + 1
        if not (by_rows or by_columns) or one.offset + span > one.storage.count:
            raise SourceError(
                f"{self._access.name}: tensor {stored} at {one.offset} with strides {list(strides)} does not fit "
                f"its storage of {one.storage.count} numbers; save the model's state_dict() again"
            )
        return span


def is_torch(head: bytes) -> bool:
    """Whether a file's first bytes are those of a file that ``torch.save`` wrote."""
    return head.startswith(torch_zip.MAGIC) or torch_legacy.is_legacy(head)


def _open(access: RandomAccess) -> torch_zip.ZipContainer | torch_legacy.LegacyContainer:
    head = bytes(access.read(0, min(access.size, _HEAD_BYTES)))
    if head.startswith(torch_zip.MAGIC):
        return torch_zip.ZipContainer(access)
    if torch_legacy.is_legacy(head):
        return torch_legacy.LegacyContainer(access)
    it = disguise(head) or "not a file that torch.save wrote; save the model's state_dict(), best as safetensors"
    raise SourceError(f"{access.name} ({access.size} bytes) is {it}")


def _flat(root: dict[str, Any]) -> dict[str, PickledTensor]:
    found: dict[str, PickledTensor] = {}
    level, seen = [("", root)], {id(root)}
    for _ in range(_DEEPEST):
        deeper = []
        for prefix, held in level:
            for key, value in held.items():
                if isinstance(value, PickledTensor):
                    found[f"{prefix}{key}"] = value
                elif isinstance(value, dict) and id(value) not in seen:
                    seen.add(id(value))
                    deeper.append((f"{prefix}{key}.", value))
        level = deeper
    return found
