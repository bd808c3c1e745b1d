"""Safetensors on disk: which file holds which tensor, its shape and dtype, and the tensor itself, memory-mapped."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from embcheck.errors import SourceError
from embcheck.sources._files import one_line, printable, read_json, refuse_disguise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from torch import Tensor

_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor of a file: ``dtype`` as safetensors writes it, such as ``BF16``."""

    name: str
    file: Path
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        """Name, shape and dtype, as error messages list candidates."""
        return f"{printable(self.name)} {list(self.shape)} {self.dtype}"


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of a directory: the file of each by name."""

    folder: Path
    file_of: dict[str, Path]

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that holds a tensor."""
        return tuple(dict.fromkeys(self.file_of.values()))

    def stored(self, names: Iterable[str]) -> list[Stored]:
        """Shapes and dtypes of some tensors; only the headers of their files are read."""
        by_file: dict[Path, list[str]] = {}
        for name in names:
            by_file.setdefault(self.file_of[name], []).append(name)
        return [one for file, wanted in by_file.items() for one in _inspect(file, wanted)]


def open_weights(folder: Path) -> Weights:
    """Find the tensors of a directory: one file, or shards with an index.

    Raises
    ------
    SourceError
        There are no weights, they are not safetensors, or the index is malformed or points out of the directory.
    """
    single = folder / "model.safetensors"
    if not single.is_file():
        if (folder / _INDEX).is_file():
            return Weights(folder, _sharded(folder))
        single = _only_file(folder)
    with _opened(single) as handle:
        return Weights(folder, dict.fromkeys(handle.keys(), single))


def load(stored: Stored) -> Tensor:
    """Map one tensor into memory. Pages are read as they are used.

    Raises
    ------
    SourceError
        The file is malformed.
    """
    with _opened(stored.file) as handle:
        tensor: Tensor = handle.get_tensor(stored.name)
    return tensor


def _inspect(file: Path, names: list[str]) -> list[Stored]:
    with _opened(file) as handle:
        held = set(handle.keys())
        for name in names:
            if name not in held:
                raise SourceError(
                    f"{file} lacks tensor {name!r}, which the index says is there; download the model again"
                )
        slices = {name: handle.get_slice(name) for name in names}
        return [Stored(name, file, tuple(s.get_shape()), s.get_dtype()) for name, s in slices.items()]


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        with safe_open(file, framework="pt") as handle:
            yield handle
    except SafetensorError as error:
        refuse_disguise(file)
        size = file.stat().st_size
        raise SourceError(
            f"{file} ({size} bytes) is truncated or not a safetensors file ({one_line(error)}); download it again"
        ) from None
    except OSError as error:
        raise SourceError(f"cannot read {file}: {one_line(error)}") from None


def _sharded(folder: Path) -> dict[str, Path]:
    index = folder / _INDEX
    document = read_json(index)
    entries = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise SourceError(f"{index} has no weight_map; download the model again")
    for entry in {str(value) for value in entries.values()}:
        if not _is_plain(entry):
            raise SourceError(
                f"{index} points to {entry!r}, which is not a plain file name; shards must lie in the directory itself"
            )
        if not (folder / entry).is_file():
            raise SourceError(f"{index} names {entry}, which is not in the directory; download the missing shard")
    return {str(name): folder / str(value) for name, value in entries.items()}


def _is_plain(entry: str) -> bool:
    """Whether an entry names a file in the directory itself, on any operating system."""
    return entry not in {"", ".", ".."} and not any(c in entry for c in "/\\:") and entry.isprintable()


def _only_file(folder: Path) -> Path:
    try:
        names = sorted(p.name for p in folder.iterdir() if p.is_file())
        nested = sorted({p.parent.name for p in folder.glob("*/*.safetensors")})
    except OSError as error:
        raise SourceError(f"cannot read directory {folder}: {one_line(error)}") from None
    found = [name for name in names if name.endswith(".safetensors")]
    if len(found) == 1:
        return folder / found[0]
    if found:
        raise SourceError(
            f"{folder} holds {len(found)} safetensors files but neither model.safetensors nor {_INDEX}; "
            f"leave only the one to read: {', '.join(map(printable, found[:5]))}"
        )
    raise SourceError(f"{folder} {_without_weights(names, nested)}")


def _without_weights(names: list[str], nested: list[str]) -> str:
    if nested:
        return f"holds no weights itself, but {', '.join(map(printable, nested[:5]))} in it does; give that directory"
    if pickled := [n for n in names if n.endswith((".bin", ".pt", ".pth", ".ckpt"))]:
        return (
            f"holds only pickled weights ({printable(pickled[0])}), which could run code when read; "
            "save the model with save_pretrained(..., safe_serialization=True) and give that directory"
        )
    if gguf := [n for n in names if n.endswith(".gguf")]:
        return f"holds only GGUF weights ({printable(gguf[0])}), which are not read yet; give the safetensors model"
    seen = f"only {', '.join(map(printable, names[:5]))}" if names else "no files at all"
    return f"holds no weights (model.safetensors), {seen}; give the directory that a model was saved to"
