"""Processes that train together (torch.distributed): which one speaks, and what all of them agree on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["agreed", "is_first"]

_FAULT = -1


def is_first() -> bool:
    """Whether this process is rank 0, or the only one."""
    return _rank() in {None, 0}


def agreed(decide: Callable[[], int]) -> int:
    """What rank 0 decides, a number from 0 on, in every process. Only rank 0 calls ``decide``; the others wait."""
    if _rank() is None:
        return decide()
    if not is_first():
        answer = _broadcast(0)
        if answer == _FAULT:
            raise RuntimeError("rank 0 failed while it checked the embeddings; its own error says why")
        return answer
    answer = _FAULT
    try:
        answer = decide()
    finally:
        _broadcast(answer)
    return answer


def _rank() -> int | None:
    import torch

    group = torch.distributed
    if not group.is_available() or not group.is_initialized():
        return None
    return group.get_rank()


def _broadcast(value: int) -> int:
    import torch

    on_cuda = torch.distributed.get_backend() == "nccl"
    place = torch.device("cuda", torch.cuda.current_device()) if on_cuda else torch.device("cpu")
    flag = torch.tensor([value], dtype=torch.int64, device=place)
    torch.distributed.broadcast(flag, src=0)
    return int(flag.item())
