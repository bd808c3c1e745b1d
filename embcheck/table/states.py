"""What parts of a table made of themselves, kept in a folder: a store that grew is measured on its new parts only."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embcheck.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from embcheck.table.tasks import Part

__all__ = ["States"]

_BEGUN = "begun.json"


class States:
    """A folder of answers, each in a file named by all that it hangs on.

    ``rows`` are the first rows of the store, those that were there when the folder was begun. Probe tokens are drawn
    among them: what a part made of them stays right when others are added.
    """

    def __init__(self, folder: Path, parts: Sequence[Part]) -> None:
        self._folder = folder
        now = [[part.name, part.version, part.rows] for part in parts]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            begun = folder / _BEGUN
            if not begun.exists():
                begun.write_text(json.dumps(now), encoding="utf-8")
            then = json.loads(begun.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"states {str(folder)!r}: {error}; name another folder") from None
        if now[: len(then)] != then:
            raise UsageError(
                f"states {str(folder)!r} are of a store whose first parts were others; name another folder"
            )
        self.rows = sum(rows for _, _, rows in then)

    def get(self, key: str) -> Any:
        """The answer of that name, ``None`` where there is none yet."""
        with suppress(Exception):  # a damaged file is as good as none
            return _arrays(torch.load(self._folder / f"{key}.pt", weights_only=True))
        return None

    def put(self, key: str, answer: Any) -> None:
        """Keep an answer; a full disk keeps none."""
        with suppress(OSError):
            partial = self._folder / f"{key}.{os.getpid()}"
            torch.save(_tensors(answer), partial)
            partial.replace(self._folder / f"{key}.pt")


def _tensors(answer: Any) -> Any:
    """Arrays as pairs of a name and a tensor, which any version of torch reads without running code."""
    if isinstance(answer, tuple):
        return tuple(map(_tensors, answer))
    return {"array": torch.from_numpy(np.ascontiguousarray(answer))} if isinstance(answer, np.ndarray) else answer


def _arrays(kept: Any) -> Any:
    if isinstance(kept, tuple):
        return tuple(map(_arrays, kept))
    return kept["array"].numpy() if isinstance(kept, dict) else kept
