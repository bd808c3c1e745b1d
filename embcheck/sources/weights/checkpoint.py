"""The weights of a model: which file of its folder holds which tensor, and one tensor of them."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from embcheck.errors import SourceError
from embcheck.sources.files import LocalFolder, drop_code, one_line, printable, read_json
from embcheck.sources.weights.distributed import METADATA, SHARDS, DistributedCheckpoint
from embcheck.sources.weights.ranks import STATES, Ranks, ranked, refuse_incomplete, refuse_partitioned
from embcheck.sources.weights.safetensors import SafetensorsFile
from embcheck.sources.weights.scaled import PACKED, MisfitError, Scaled, find_scaled, parts_of
from embcheck.sources.weights.stored import FLOATS, Stored
from embcheck.sources.weights.torch_file import TorchFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from torch import Tensor

    from embcheck.sources.files import Folder, JsonObject
    from embcheck.sources.weights.stored import TensorFile

SAFETENSORS = ".safetensors"
PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_WHOLE = ("model.safetensors", "pytorch_model.bin")  # the first that is there is read
_BESIDE_WEIGHTS = frozenset({"training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "rng_state.pth"})
CONFIG = "config.json"
_CONFIGS = (CONFIG, "params.json")  # the second is what Meta and Mistral publish beside their own files
ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", re.compile(r"adapter_model\.(safetensors|bin)")
_PART = re.compile(r"(?P<stem>.+)-(?P<part>\d{5})-of-(?P<parts>\d{5})(?P<suffix>\.\w+)")
_SLICE = re.compile(r"(consolidated\.|mp_rank_|model_parallel_rank_)\d+.*")  # one process's share of every matrix
_NESTED = (SAFETENSORS, METADATA, "_model_states.pt", "rng.pt")
_MOST_PARTS = 4096
_LARGEST_CONFIG = 16 * 2**20
_LARGEST_INDEX = 64 * 2**20
_LARGEST_BYTES = 64 * 2**30


class Checkpoint:
    """The tensors of a model, in one file or several: a `TensorStore`. ``file_of`` tells the file of each."""

    missing: tuple[str, ...] = ()
    """Files that belong to it and are not there: what they hold can't be known."""
    notes: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    """Files that numbers lie in too, which another one tells of."""

    def __init__(self, folder: Folder, file_of: dict[str, str]) -> None:
        self.origin = folder.origin
        self.file_of = file_of
        self._folder = folder
        self.bytes_read = 0
        self._opened: dict[str, TensorFile] = {}
        self._read: dict[str, Tensor] = {}
        self._scaled: dict[str, Scaled | str] = {}
        self._name_packed()

    @classmethod
    def of_file(cls, folder: Folder, file: str) -> Checkpoint:
        """All tensors of one file."""
        return cls.of_files(folder, [file])

    @classmethod
    def of_files(cls, folder: Folder, files: Iterable[str]) -> Checkpoint:
        """All tensors of several files, each of which lies in one of them."""
        checkpoint = cls(folder, {})
        for file in files:
            for name in checkpoint._open(file).tensors:
                if (other := checkpoint.file_of.setdefault(name, file)) != file:
                    raise SourceError(
                        f"{folder.origin}: {printable(name)} lies in {other} and in {file}, so each may hold a part of "
                        "every matrix; merge them into whole matrices first (save the model with transformers)"
                    )
        checkpoint._name_packed()
        return checkpoint

    @classmethod
    def of_ranks(cls, folder: Folder, files: list[str]) -> Checkpoint:
        """The word embeddings whose rows lie in several files, one for each process of a run."""
        parts = [TorchFile(folder.open(file), file) for file in files]
        checkpoint = cls.of_opened(folder, files[0], Ranks(folder.origin, files, parts))
        if not checkpoint.file_of:
            raise _slice_error(folder, files)
        checkpoint.beside = tuple(files[1:])
        return checkpoint

    @classmethod
    def of_opened(cls, folder: Folder, file: str, opened: TensorFile) -> Checkpoint:
        """All tensors of a file that was opened."""
        checkpoint = cls(folder, dict.fromkeys(opened.tensors, file))
        checkpoint._opened[file] = opened
        return checkpoint

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that holds a tensor."""
        return tuple(dict.fromkeys(self.file_of.values()))

    @property
    def names(self) -> Collection[str]:
        """All tensors."""
        return self.file_of.keys()

    @property
    def may_drop_copies(self) -> bool:
        """As safetensors does; what lies in files that are not there is not known."""
        return not self.missing

    @property
    def is_local(self) -> bool:
        """Whether any of its tensors can be looked into without moving bytes."""
        return isinstance(self._folder, LocalFolder)

    @cached_property
    def config(self) -> JsonObject:
        """The model's config.json (or params.json) but for the code that it names, empty where there is none."""
        file = next((name for name in _CONFIGS if name in self._folder.names()), None)
        return {} if file is None else read_settings(self._folder, file)

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
            self.bytes_read += self.nbytes(stored)
        return self._read[name]

    def quantized_error(self, stored: Stored) -> SourceError:
        """The error that a tensor deserves whose numbers are no floats."""
        methods = [self.config.get("quantization_config"), self.config.get("quantization")]
        method = next((m["quant_method"] for m in methods if isinstance(m, dict) and "quant_method" in m), None)
        how = f" with {one_line(method)}" if method is not None else ""
        why = self._scaled.get(stored.name)
        return SourceError(
            f"{self.origin}: tensor {stored} is quantized{how} or no float{f', and {why}' if why else ''}; "
            f"give a checkpoint whose embeddings are {', '.join(FLOATS.values())}, "
            "or dequantize them first: docs/compare.md says how"
        )

    def nbytes(self, stored: Stored) -> int:
        """Bytes that loading it reads."""
        scaled = self._scaled.get(stored.name)
        return scaled.nbytes if isinstance(scaled, Scaled) else stored.nbytes

    def how_stored(self, stored: Stored) -> tuple[str, ...]:
        """Notes on a tensor's file, and on numbers of few bits that are read to float32."""
        scaled = self._scaled.get(stored.name)
        bits = (f"{scaled.how}, read to float32",) if isinstance(scaled, Scaled) else ()
        return (*self._open(stored.file).notes, *bits)

    def stored(self, names: Iterable[str]) -> list[Stored]:
        """Shapes and dtypes of some tensors; only the headers of their files are read.

        Numbers of few bits with a known scale are float32 here.
        """
        by_file: dict[str, list[str]] = {}
        for name in names:
            by_file.setdefault(self.file_of[name], []).append(name)
        return [self._look_up(file, name) for file, wanted in by_file.items() for name in wanted]

    def load(self, stored: Stored) -> Tensor:
        """Read one matrix, memory-mapped."""
        if stored.nbytes > _LARGEST_BYTES:
            size = stored.nbytes / 2**30
            raise SourceError(f"{self.origin}: tensor {stored} would take {size:.0f} GiB; at most 64 are read")
        scaled = self._scaled.get(stored.name)
        return scaled.load(self._load_numbers) if isinstance(scaled, Scaled) else self._load_numbers(stored)

    def _load_numbers(self, stored: Stored) -> Tensor:
        return self._open(stored.file).load(stored)

    def _name_packed(self) -> None:
        """Give matrices that were packed, and have no tensor of their own, the name that they would have."""
        packed = [(name, file) for name, file in self.file_of.items() if name.endswith(f".{PACKED}")]
        for name, file in packed:
            self.file_of.setdefault(f"{name.removesuffix(PACKED)}weight", file)

    def _look_up(self, file: str, name: str) -> Stored:
        """What the header says of a tensor; of one that is packed or scaled, what it is when it is read."""
        packed = f"{name}_packed"
        stored = self._look_into(file, packed if packed in self.file_of else name)
        if not name.endswith(".weight") or (stored.name == name and stored.dtype in FLOATS):
            return stored
        if name not in self._scaled:
            self._scaled[name] = self._find_scale(name)
        scaled = self._scaled[name]
        if isinstance(scaled, Scaled):
            return Stored(name, file, scaled.shape, "F32")
        return stored if stored.name == name else replace(stored, name=name, dtype=f"{stored.dtype} (packed)")

    def _find_scale(self, name: str) -> Scaled | str:
        own = parts_of(name, self.file_of)
        if PACKED in own:
            own.pop("weight", None)
        parts = {part: self._look_into(self.file_of[full], full) for part, full in own.items()}
        try:
            return find_scaled(parts, self.config, self._load_numbers)
        except MisfitError as error:
            return str(error)

    def _look_into(self, file: str, name: str) -> Stored:
        try:
            return self._open(file).tensors[name]
        except KeyError:
            raise SourceError(
                f"{self.origin}/{file} lacks tensor {name!r}, which the index says is there; download the model again"
            ) from None

    def _open(self, file: str) -> TensorFile:
        if file not in self._opened:
            if file in self.missing:
                raise SourceError(f"{self.origin} lacks {printable(file)}, a part of the model; download it too")
            read = SafetensorsFile if file.endswith(SAFETENSORS) else TorchFile
            self._opened[file] = read(self._folder.open(file), file)
        return self._opened[file]


def open_checkpoint(folder: Folder, file: str | None = None) -> Checkpoint:
    """Find the weights of a model: one file, or shards with an index; safetensors rather than pickled ones.

    A ``file`` that a user named is read with the other parts of the model that it is a part of.
    """
    names = folder.names()
    if file is None or ADAPTER_WEIGHTS.fullmatch(file):
        refuse_adapter(folder, names)
    if file is not None:
        refuse_partitioned(folder.origin, [file])
        checkpoint = _open_with_parts(folder, names, file)
        if ADAPTER in names:
            checkpoint.notes += (f"the adapter beside {printable(file)} is not applied",)
        return checkpoint
    for whole in _WHOLE:
        if whole in names:
            return Checkpoint.of_file(folder, whole)
        if (index := f"{whole}.index.json") in names:
            return Checkpoint(folder, _read_index(folder, index))
    if any(name.endswith(SHARDS) and "/" not in name for name in names):
        return _open_distributed(folder, names)
    if files := ranked(names):
        return _open_with_parts(folder, names, files[0])
    refuse_partitioned(folder.origin, names)
    return _open_only(folder, names)


def _open_distributed(folder: Folder, names: tuple[str, ...]) -> Checkpoint:
    if METADATA not in names:
        raise SourceError(f"{folder.origin} lacks {METADATA}, which tells what lies where in its files; get it too")
    opened = DistributedCheckpoint(folder)
    checkpoint = Checkpoint.of_opened(folder, METADATA, opened)
    checkpoint.beside = opened.files
    return checkpoint


def _open_only(folder: Folder, names: tuple[str, ...]) -> Checkpoint:
    """The weights of a folder that names none of its files as the one to read: there may be one, or one set of them."""
    own = [name for name in names if "/" not in name]
    for suffixes in ((SAFETENSORS,), PICKLED):
        files = [name for name in own if name.endswith(suffixes) and name not in _BESIDE_WEIGHTS]
        if files and (len(files) == 1 or set(files) <= set(_parts_of(files[0]))):
            return _open_with_parts(folder, names, files[0])
        if files and all(map(_SLICE.fullmatch, files)):
            raise _slice_error(folder, files)
        if files:
            raise SourceError(
                f"{folder.origin} holds {len(files)} {suffixes[0][1:]} files but neither model.safetensors, "
                f"pytorch_model.bin nor an index; give the one to read, as {folder.origin}/{printable(files[0])}: "
                f"{', '.join(map(printable, files[:5]))}"
            )
    raise SourceError(f"{folder.origin} {_say_what_is_there(names)}")


def _open_with_parts(folder: Folder, names: tuple[str, ...], file: str) -> Checkpoint:
    """A file, with the shards beside it by their index, or by their names where the index is lost."""
    for index in (f"{whole}.index.json" for whole in _WHOLE):
        if index in names and file in (entries := _read_index(folder, index, require_all=False)).values():
            checkpoint = Checkpoint(folder, entries)
            checkpoint.missing = tuple(sorted({*entries.values()} - {*names}))
            return checkpoint
    if files := ranked(names, file):
        checkpoint = Checkpoint.of_ranks(folder, files) if len(files) > 1 else _open_alone(folder, file)
        if file.endswith(STATES):
            checkpoint.notes = (
                "the module's own numbers are read; what DeepSpeed keeps of them in float32 zero_to_fp32.py gathers",
            )
        return checkpoint
    if _SLICE.fullmatch(file) and len(slices := [n for n in names if n.endswith(PICKLED) and _SLICE.fullmatch(n)]) > 1:
        raise _slice_error(folder, slices)
    parts = _parts_of(file)
    if not parts and not file.endswith(SAFETENSORS):
        return _open_alone(folder, file)
    checkpoint = Checkpoint.of_files(folder, [part for part in parts if part in names] or [file])
    checkpoint.missing = tuple(part for part in parts if part not in names)
    return checkpoint


def _open_alone(folder: Folder, file: str) -> Checkpoint:
    """A file that torch saved, unless it says that it is one of several parts."""
    opened = TorchFile(folder.open(file), file)
    refuse_incomplete(folder.origin, [opened])
    return Checkpoint.of_opened(folder, file, opened)


def _parts_of(file: str) -> list[str]:
    """The names of all files of a set, such as model-00001-of-00002.safetensors; none for a file that is whole."""
    match = _PART.fullmatch(file)
    if match is None or not int(match["part"]) <= int(match["parts"]) <= _MOST_PARTS:
        return []
    count = int(match["parts"])
    return [f"{match['stem']}-{part:05d}-of-{count:05d}{match['suffix']}" for part in range(1, count + 1)]


def _slice_error(folder: Folder, files: Sequence[str]) -> SourceError:
    return SourceError(
        f"{folder.origin} holds {', '.join(map(printable, files[:5]))}, each with a part of every matrix; none of them "
        "is read, for its numbers would be wrong: merge them, as transformers' conversion scripts do, and give that"
    )


def refuse_adapter(folder: Folder, names: Sequence[str]) -> None:
    """Refuse weights with an adapter beside them: transformers would apply it, so they are not the model."""
    if ADAPTER in names:
        raise adapter_error(folder)


def adapter_error(folder: Folder, *, way_out: str = "") -> SourceError:
    """The error that an adapter deserves where it, or the weights without it, can't be read."""
    base = read_settings(folder, ADAPTER).get("base_model_name_or_path")
    whose = f" of {printable(one_line(base))}" if isinstance(base, str) and base else ""
    whole = [name for name in folder.names() if name.endswith(SAFETENSORS) and not ADAPTER_WEIGHTS.fullmatch(name)]
    bare = f"; or give {folder.origin}/{printable(whole[0])} for the weights without it" if whole else ""
    return SourceError(
        f"{folder.origin} holds an adapter{whose} (adapter_config.json), which transformers would apply; {way_out}"
        "merge the two (peft: PeftModel.from_pretrained(base, adapter).merge_and_unload().save_pretrained(...)) and "
        f"give that{bare}"
    )


def read_settings(folder: Folder, file: str) -> JsonObject:
    """A JSON object of settings but for the code that it names."""
    if (folder.size(file) or 0) > _LARGEST_CONFIG:
        raise SourceError(f"{folder.origin}/{file} is larger than any model's; download the model again")
    document = drop_code(read_json(folder.fetch(file)))
    if not isinstance(document, dict):
        raise SourceError(f"{folder.origin}/{file} is not a JSON object; download the model again")
    return document


def _read_index(folder: Folder, index: str, *, require_all: bool = True) -> dict[str, str]:
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
        if (require_all and entry not in names) or not entry.endswith(suffixes):
            raise SourceError(f"{where} names {entry}, which is not in the directory; download the missing shard")
    return {str(name): str(value) for name, value in entries.items()}


def _is_plain(entry: str) -> bool:
    """Whether an entry names a file in the directory itself, on any operating system."""
    return entry not in {"", ".", ".."} and not any(c in entry for c in "/\\:") and entry.isprintable()


def _say_what_is_there(names: tuple[str, ...]) -> str:
    own = [name for name in names if "/" not in name]
    nested = sorted({name.rpartition("/")[0] for name in names if "/" in name and name.endswith(_NESTED)})
    if nested:
        return f"holds no weights itself, but {', '.join(map(printable, nested[:5]))} in it does; give that directory"
    if gguf := [name for name in names if name.endswith(".gguf")]:
        return f"holds only GGUF weights; give one of its files: {', '.join(map(printable, gguf[:5]))}"
    seen = f"only {', '.join(map(printable, own[:5]))}" if own else "no files at all"
    return f"holds no weights (model.safetensors), {seen}; give the directory that a model was saved to"
