"""What the processes of a run saved each (Megatron, DeepSpeed): the rows of word embeddings that each of them holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from embcheck.errors import SourceError
from embcheck.sources.files import printable
from embcheck.sources.weights.pickles import Made
from embcheck.sources.weights.stored import FLOATS, Stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from embcheck.sources.weights.torch_file import TorchFile

_RANKED = re.compile(
    r"(?P<before>mp_rank_|layer_\d+-model_)(?P<rank>\d{2})"
    r"(?P<after>(?:_000(?:_000)?)?/model_(?:optim_)?rng\.pt|_model_states\.pt|-model_states\.pt)"
)
_PARTITIONED = re.compile(r"(?:.*_)?zero_pp_rank_\d+_mp_rank_\d+_(?:model|optim)_states\.pt")
STATES = "_model_states.pt"
"""What DeepSpeed calls the files of a model's own numbers."""
_BY_ROWS = re.compile(r"(?:.*\.)?word_embeddings\.weight")


def ranked(names: Sequence[str], file: str | None = None) -> list[str]:
    """The files of one model by rank of tensor parallelism: those like the one that is named, else those there are."""
    matches = [match for name in sorted(names) if (match := _RANKED.fullmatch(name)) is not None]
    kinds = {match.group("before", "after") for match in matches if file is None or match.string == file}
    if len(kinds) != 1:
        return []
    before, after = kinds.pop()
    own = [match.string for match in matches if match.group("before", "after") == (before, after)]
    ranks = [int(match["rank"]) for match in matches if match.string in own]
    if ranks != list(range(len(ranks))):
        lacking = next(rank for rank in range(len(ranks) + 1) if rank not in ranks)
        raise SourceError(f"{before}{lacking:02d}{after} is missing, a part of every matrix; get it too")
    return own


def refuse_partitioned(origin: str, names: Sequence[str]) -> None:
    """Refuse what DeepSpeed saves a part of in each process: flat runs of numbers of all matrices."""
    if states := [name for name in names if _PARTITIONED.fullmatch(name)]:
        raise SourceError(
            f"{origin} holds {printable(states[0])}, a part of numbers that DeepSpeed's ZeRO spreads over processes; "
            "gather them with its zero_to_fp32.py first, and give what that writes"
        )


class Ranks:
    """Word embeddings whose rows lie in several files, one after the other: a `TensorFile`. Nothing else is known."""

    def __init__(self, origin: str, files: Sequence[str], parts: Sequence[TorchFile]) -> None:
        self._parts = parts
        self.notes = (*parts[0].notes, f"its rows lie in {len(parts)} files, one for each process of the run")
        self.tensors: dict[str, Stored] = {}
        refuse_incomplete(origin, parts)
        for name, first in parts[0].tensors.items():
            own = [part.tensors.get(name) for part in parts]
            shapes = {stored.shape[1:] for stored in own if stored is not None and stored.dtype == first.dtype}
            if _BY_ROWS.fullmatch(name) and None not in own and len(shapes) == 1 and len(first.shape) == 2:
                rows = sum(stored.shape[0] for stored in own if stored is not None)
                self.tensors[name] = Stored(name, files[0], (rows, first.shape[1]), first.dtype)

    def load(self, stored: Stored) -> Tensor:
        """The rows of all parts."""
        matrix, at = torch.empty(stored.shape, dtype=getattr(torch, FLOATS[stored.dtype])), 0
        for part in self._parts:
            own = part.tensors[stored.name]
            matrix[at : at + own.shape[0]] = part.load(own)
            at += own.shape[0]
        return matrix


def refuse_incomplete(origin: str, parts: Sequence[TorchFile]) -> None:
    """Refuse fewer files than the run had processes, where they say how many."""
    for part in parts:
        args = part.root.get("args")
        said = args.attributes.get("tensor_model_parallel_size") if isinstance(args, Made) else None
        count = part.root.get("mp_world_size", said)
        if type(count) is int and count != len(parts):
            raise SourceError(
                f"{origin} holds {len(parts)} of {count} parts of every matrix; give the folder in which all lie"
            )
