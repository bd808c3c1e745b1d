"""The weights of a model: which file of its folder holds which tensor, and one tensor of them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from embcheck.errors import SourceError
from embcheck.sources.files import drop_code, one_line, printable, read_json
from embcheck.sources.weights.safetensors import SafetensorsFile
from embcheck.sources.weights.stored import FLOATS
from embcheck.sources.weights.torch_file import TorchFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from torch import Tensor

    from embcheck.sources.files import Folder, JsonObject
    from embcheck.sources.weights.stored import Stored, TensorFile

SAFETENSORS = ".safetensors"
PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_WHOLE = ("model.safetensors", "pytorch_model.bin")  # the first that is there is read
_BESIDE_WEIGHTS = frozenset({"training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "rng_state.pth"})
CONFIG = "config.json"
_LARGEST_CONFIG = 16 * 2**20
_LARGEST_INDEX = 64 * 2**20
_LARGEST_BYTES = 64 * 2**30


class Checkpoint:
    """The tensors of a model, in one file or several: a `TensorStore`. ``file_of`` tells the file of each."""

    def __init__(self, folder: Folder, file_of: dict[str, str]) -> None:
        self.origin = folder.origin
        self.file_of = file_of
        self._folder = folder
        self.bytes_read = 0
        self._opened: dict[str, TensorFile] = {}
        self._read: dict[str, Tensor] = {}

    @classmethod
    def of_file(cls, folder: Folder, file: str) -> Checkpoint:
        """All tensors of one file."""
        checkpoint = cls(folder, {})
        checkpoint.file_of = dict.fromkeys(checkpoint._open(file).tensors, file)
        return checkpoint

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that holds a tensor."""
        return tuple(dict.fromkeys(self.file_of.values()))

    @property
    def names(self) -> Collection[str]:
        """All tensors."""
        return self.file_of.keys()

    @cached_property
    def config(self) -> JsonObject:
        """The model's config.json but for the code that it names, empty where there is none."""
        if CONFIG not in self._folder.names():
            return {}
        if (self._folder.size(CONFIG) or 0) > _LARGEST_CONFIG:
            raise SourceError(f"{self.origin}/{CONFIG} is larger than any model's; download the model again")
        document = drop_code(read_json(self._folder.fetch(CONFIG)))
        if not isinstance(document, dict):
            raise SourceError(f"{self.origin}/{CONFIG} is not a JSON object; download the model again")
        return document

    def shape(self, name: str) -> tuple[int, ...]:
        """From the header of its file."""
        return self.stored([name])[0].shape

    def refusal(self, name: str) -> str | None:
        """That it is quantized, if it is."""
        stored = self.stored([name])[0]
        return None if stored.dtype in FLOATS else str(self.quantized_error(stored))

    def read(self, name: str) -> Tensor:
        """As `load`, once, and counted."""
        if name not in self._read:
            stored = self.stored([name])[0]
            self._read[name] = self.load(stored)
            self.bytes_read += stored.nbytes
        return self._read[name]

    def quantized_error(self, stored: Stored) -> SourceError:
        """The error that a tensor deserves whose numbers are no floats."""
        methods = [self.config.get("quantization_config"), self.config.get("quantization")]
        method = next((m["quant_method"] for m in methods if isinstance(m, dict) and "quant_method" in m), None)
        how = f" with {one_line(method)}" if method is not None else ""
        return SourceError(
            f"{self.origin}: tensor {stored} is quantized{how} or no float; "
            f"give a checkpoint whose embeddings are {', '.join(FLOATS.values())}"
        )

    def stored(self, names: Iterable[str]) -> list[Stored]:
        """Shapes and dtypes of some tensors; only the headers of their files are read."""
        by_file: dict[str, list[str]] = {}
        for name in names:
            by_file.setdefault(self.file_of[name], []).append(name)
        return [self._look_up(file, name) for file, wanted in by_file.items() for name in wanted]

    def load(self, stored: Stored) -> Tensor:
        """Read one matrix, memory-mapped."""
        if stored.nbytes > _LARGEST_BYTES:
            size = stored.nbytes / 2**30
            raise SourceError(f"{self.origin}: tensor {stored} would take {size:.0f} GiB; at most 64 are read")
        return self._open(stored.file).load(stored)

    def _look_up(self, file: str, name: str) -> Stored:
        try:
            return self._open(file).tensors[name]
        except KeyError:
            raise SourceError(
                f"{self.origin}/{file} lacks tensor {name!r}, which the index says is there; download the model again"
            ) from None

    def _open(self, file: str) -> TensorFile:
        if file not in self._opened:
            read = SafetensorsFile if file.endswith(SAFETENSORS) else TorchFile
            self._opened[file] = read(self._folder.open(file), file)
        return self._opened[file]


def open_checkpoint(folder: Folder) -> Checkpoint:
    """Find the weights of a model: one file, or shards with an index; safetensors rather than pickled ones."""
    names = folder.names()
    for whole in _WHOLE:
        if whole in names:
            return Checkpoint.of_file(folder, whole)
        if (index := f"{whole}.index.json") in names:
            return Checkpoint(folder, _read_index(folder, index))
    own = [name for name in names if "/" not in name]
    for suffixes in ((SAFETENSORS,), PICKLED):
        files = [name for name in own if name.endswith(suffixes) and name not in _BESIDE_WEIGHTS]
        if len(files) == 1:
            return Checkpoint.of_file(folder, files[0])
        if files:
            raise SourceError(
                f"{folder.origin} holds {len(files)} {suffixes[0][1:]} files but neither model.safetensors, "
                f"pytorch_model.bin nor an index; leave only the one to read: {', '.join(map(printable, files[:5]))}"
            )
    raise SourceError(f"{folder.origin} {_say_what_is_there(names)}")


def _read_index(folder: Folder, index: str) -> dict[str, str]:
    """The file of each tensor by an index, all of them in the folder itself."""
    where = f"{folder.origin}/{index}"
    if (folder.size(index) or 0) > _LARGEST_INDEX:
        raise SourceError(f"{where} is larger than any model's index; download the model again")
    document = read_json(folder.fetch(index))
    entries = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise SourceError(f"{where} has no weight_map; download the model again")
    suffixes = (SAFETENSORS,) if SAFETENSORS in index else PICKLED
    names = frozenset(folder.names())
    for entry in {str(value) for value in entries.values()}:
        if not _is_plain(entry):
            raise SourceError(
                f"{where} points to {entry!r}, which is not a plain file name; shards must lie in the directory itself"
            )
        if entry not in names or not entry.endswith(suffixes):
            raise SourceError(f"{where} names {entry}, which is not in the directory; download the missing shard")
    return {str(name): str(value) for name, value in entries.items()}


def _is_plain(entry: str) -> bool:
    """Whether an entry names a file in the directory itself, on any operating system."""
    return entry not in {"", ".", ".."} and not any(c in entry for c in "/\\:") and entry.isprintable()


def _say_what_is_there(names: tuple[str, ...]) -> str:
    own = [name for name in names if "/" not in name]
    nested = sorted({name.rsplit("/", 1)[0] for name in names if "/" in name and name.endswith(SAFETENSORS)})
    if nested:
        return f"holds no weights itself, but {', '.join(map(printable, nested[:5]))} in it does; give that directory"
    if gguf := [name for name in names if name.endswith(".gguf")]:
        return f"holds only GGUF weights; give one of its files: {', '.join(map(printable, gguf[:5]))}"
    seen = f"only {', '.join(map(printable, own[:5]))}" if own else "no files at all"
    return f"holds no weights (model.safetensors), {seen}; give the directory that a model was saved to"
