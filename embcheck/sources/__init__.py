"""Sources: for each kind of spec the module that reads it (`SCHEMES`).

A source module has two functions; `SCHEMES` names it, and docs/extend.md says what else may want to know of it:

``read(spec) -> EmbeddingTable``
    The table on the CPU, in the dtype it was stored in, memory-mapped where the format allows.
``read_on(spec, device) -> EmbeddingTable``, only where vectors are computed, not read
    As ``read``, computing on that device.
``check(spec)``, ``expand(spec)``, ``announce(spec)``, only where a spec is more than a path
    What can be checked of it without reading; the specs that it stands for; what a user should know before it is read.
``open_model(spec)``, only where weights lie as tensors with names
    Its files and the headers of its weights, for specs that name another one.
``lay_out(spec) -> EmbeddingTable``, only where rows can be read a part at a time
    As ``read``, its vectors being ``embcheck.table.parts.Parts``, for an executor.
``describe(spec) -> Description``
    What ``read`` would read (tensor, shape, dtype, bytes), found without reading it.

An installed package adds one by an entry point of the group ``embcheck.sources`` that names its module; of these
functions it needs ``read`` alone.
"""

from __future__ import annotations

import difflib
import gc
import importlib
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from embcheck.errors import DeviceError, EmbcheckError, SourceError, SpecError, UsageError
from embcheck.extensions import installed
from embcheck.sources.files import local_path, one_line
from embcheck.sources.hub.names import hub_name, route

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import ModuleType

    import torch

    from embcheck.extensions import Extension
    from embcheck.sources.assemble import Description
    from embcheck.sources.files import Folder
    from embcheck.sources.weights.checkpoint import Checkpoint
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable
    from embcheck.table.parts import Parts
    from embcheck.table.pools import Pool

__all__ = ["announce", "check", "describe", "expand", "load", "open_model", "resolve_device", "route", "schemes"]

SCHEMES = {
    "api": "encoders.api",
    "arrow": "stores.arrow",
    "ctranslate2": "exports.ctranslate2",
    "demo": "demo",
    "directory": "models.directory",
    "faiss": "stores.faiss",
    "fasttext": "words.word2vec",
    "gensim": "words.gensim",
    "gguf": "gguf.source",
    "glove": "words.glove",
    "hf": "hub.source",
    "hidden": "hidden.source",
    "jsonl": "stores.jsonl",
    "model2vec": "encoders.model2vec",
    "npy": "words.npy",
    "npz": "stores.npz",
    "onnx": "exports.onnx",
    "parquet": "stores.parquet",
    "random": "random",
    "spacy": "words.spacy",
    "st": "encoders.st",
    "word2vec": "words.word2vec",
}
"""For each kind of spec, the module that reads it: a new format is a module and a line here."""
_PATHLESS = frozenset({"demo", "random", "hf"})
_NESTED = frozenset({"hidden"})  # these name another spec
_MAYBE_PATHS = frozenset({"prompts", "base"})  # what they name is looked at where it is read
_NAME = re.compile("[a-z][a-z0-9_]+")
DTYPES = ("float32", "float16", "bfloat16")


def schemes() -> tuple[str, ...]:
    """Names of the schemes that specs may use."""
    return tuple(sorted({*SCHEMES, *_added()}))


def check(spec: ModelSpec) -> None:
    """Check what can be checked before any heavy import and without a network: the scheme, names, paths on disk."""
    if spec.scheme not in schemes():
        close = difflib.get_close_matches(spec.scheme, schemes(), n=1)
        hint = f"did you mean {close[0]}:?" if close else f"known schemes: {', '.join(schemes())}"
        raise SpecError(f"spec {spec.text!r}: unknown scheme {spec.scheme!r}; {hint}")
    spec = route(spec)
    if spec.scheme == "hf":
        hub_name(spec)
    if spec.scheme in _NESTED or (spec.scheme in _added() and hasattr(_module(spec), "check")):
        _call(spec, "check", spec)
        return
    if spec.scheme in _PATHLESS:
        return
    if spec.scheme == "api":
        from embcheck.sources.encoders.endpoint import endpoint

        endpoint(spec)
    target = () if spec.scheme == "api" else (spec.target,)
    for path in (*target, *(path for key, path in spec.paths if key not in _MAYBE_PATHS)):
        local_path(spec, path)


def expand(spec: ModelSpec) -> tuple[ModelSpec, ...]:
    """The specs that one stands for: itself, but for one a layer where all layers are asked for."""
    if spec.scheme not in _NESTED:
        return (spec,)
    specs: tuple[ModelSpec, ...] = _module(spec).expand(spec)
    return specs


def announce(specs: Sequence[ModelSpec]) -> list[str]:
    """What a user should know before these are read, each thing once."""
    return list(dict.fromkeys(_module(spec).announce(spec) for spec in specs if spec.scheme in _NESTED))


def load(
    spec: ModelSpec,
    *,
    device: str = "auto",
    dtype: str | None = None,
    population: Literal["known", "all"] = "known",
    pool: Pool | None = None,
    states: Path | None = None,
) -> EmbeddingTable:
    """Read a table and put it on a device; with a pool, lay it out in parts that are read where they are worked on.

    ``states`` is a folder that keeps what parts make of themselves.
    """
    from dataclasses import replace

    import torch

    check(spec)
    where = resolve_device(device)
    if dtype is not None and dtype not in DTYPES:
        raise DeviceError(f"unknown dtype {dtype!r}; choose one of {', '.join(DTYPES)}")
    spec = route(spec)
    if pool is not None and not hasattr(_module(spec), "lay_out"):
        raise SpecError(f"spec {spec.text!r} is read in one piece; an executor is for parquet: and npy:")
    way = "read" if pool is None else "lay_out"
    computes = hasattr(_module(spec), "read_on")
    table: EmbeddingTable = _call(spec, "read_on", spec, where) if computes else _call(spec, way, spec)
    if spec.scheme in _added():
        table = _stamped(spec, table)
    if table.parts is not None:
        table.parts.pool = pool
        if states is not None:
            table = _with_states(table, table.parts, states)
    vectors = table.vectors.to(where, dtype=None if dtype is None else getattr(torch, dtype))
    return replace(table, vectors=vectors, kind=population, memo={})


def _with_states(table: EmbeddingTable, parts: Parts, folder: Path) -> EmbeddingTable:
    """The same, with a folder of states, and a note of what follows for the probe tokens."""
    from dataclasses import replace

    from embcheck.table.states import States

    parts.states = States(folder, parts.parts)
    if parts.states.rows == len(parts):
        return table
    note = f"probe tokens are drawn among the first {parts.states.rows} rows, with which {folder} was begun"
    return replace(table, provenance=replace(table.provenance, notes=(*table.provenance.notes, note)), memo={})


def describe(spec: ModelSpec) -> Description:
    """What ``load`` would read, found without reading it."""
    check(spec)
    spec = route(spec)
    if not hasattr(_module(spec), "describe"):
        from embcheck.sources.assemble import Description

        return Description(shape=(None, None), dtype="unknown", bytes=None, bytes_total=None)
    description: Description = _call(spec, "describe", spec)
    return description


def open_model(spec: ModelSpec) -> tuple[Folder, Checkpoint]:
    """The files of a model and the headers of its weights, for a source whose spec names a model that it needs."""
    check(spec)
    spec = route(spec)
    if not hasattr(_module(spec), "open_model"):
        raise SpecError(f"spec {spec.text!r} is no model of many tensors; give a directory or org/name")
    opened: tuple[Folder, Checkpoint] = _module(spec).open_model(spec)
    return opened


def resolve_device(name: str) -> torch.device:
    """The torch device of a name: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``."""
    _import_torch()
    import torch

    if name == "auto":
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(best)
    kind, _, index = name.partition(":")
    if kind not in {"cpu", "cuda", "mps"} or (index and not (kind == "cuda" and index.isdigit())):
        raise DeviceError(f"unknown device {name!r}; choose auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"device {name!r}: no CUDA device is available here; use --device cpu")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise DeviceError(f"device {name!r}: only {torch.cuda.device_count()} CUDA devices are here, counted from 0")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device 'mps': no Metal device is available here; use --device cpu")
    return torch.device(name)


def _import_torch() -> None:
    """A tenth faster than by itself: none of the many objects that the import makes is garbage."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        importlib.import_module("torch")
    finally:
        if collecting:
            gc.enable()


def _added() -> Mapping[str, Extension]:
    """The sources that installed packages add."""
    added = installed("sources")
    for name, extension in added.items():
        if name in SCHEMES or not _NAME.fullmatch(name):
            why = (
                "embcheck has one of that name" if name in SCHEMES else "a scheme has small letters, digits and _ only"
            )
            raise UsageError(f"{extension.package} adds a source called {name!r}, but {why}; uninstall it")
    return added


def _module(spec: ModelSpec) -> ModuleType:
    if spec.scheme not in SCHEMES:
        return _added()[spec.scheme].load()
    with _needing_arrow(spec):
        return importlib.import_module(f"embcheck.sources.{SCHEMES[spec.scheme]}")


@contextmanager
def _needing_arrow(spec: ModelSpec) -> Iterator[None]:
    """Where pyarrow is missing, its extra is named: it reads columns and text, which a model's folder has none of."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pyarrow":
            raise
        raise SourceError(f"spec {spec.text!r} needs the extra arrow: pip install 'embcheck[arrow]'") from None


def _call(spec: ModelSpec, name: str, *given: object) -> Any:
    """Call a function of a source's module; what fails unforeseen in an added one is its package's fault, in a line."""
    function = getattr(_module(spec), name)
    if spec.scheme in SCHEMES:
        with _needing_arrow(spec):
            return function(*given)
    try:
        return function(*given)
    except EmbcheckError:
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {one_line(error)}"
        raise SourceError(f"{spec.text}: {_added()[spec.scheme].package} failed to {name} it ({why})") from error


def _stamped(spec: ModelSpec, table: object) -> EmbeddingTable:
    """What an added source gave, with the spec that it was read from."""
    from dataclasses import replace

    from embcheck.table import EmbeddingTable

    if not isinstance(table, EmbeddingTable):
        package = _added()[spec.scheme].package
        raise SourceError(f"{spec.text}: {package} gave {type(table).__name__}, which is no embcheck.EmbeddingTable")
    return replace(table, provenance=replace(table.provenance, spec=spec.text, source=spec.scheme), memo={})
