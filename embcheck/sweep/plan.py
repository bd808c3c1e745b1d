"""Which checkpoints a sweep is about: their specs, the model each belongs to, and its training step."""

from __future__ import annotations

import glob
import hashlib
import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from embcheck import sources
from embcheck.errors import UsageError
from embcheck.spec import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from embcheck.spec import ModelSpec

__all__ = ["Checkpoint", "at", "bundles", "checkpoints", "fingerprint", "matching"]

_NAMED_STEPS = tuple(  # the words that count first; an epoch is no step where a step is named too
    re.compile(rf"(?:{words})s?[-_=]?(\d+)", re.IGNORECASE) for words in ("step|iter", "checkpoint|ckpt", "epoch")
)
_NUMBER = re.compile(r"\d+")
_SCHEMES = {".gguf": "gguf:", ".npy": "npy:"}
_OTHER_TABLES = ("matrix", "tensor", "space", "states", "prompts")
"""Options that ask for another table of the same checkpoint: a series of its own."""


@dataclass(frozen=True, slots=True, order=True)
class Checkpoint:
    """One checkpoint: the run that it belongs to, its training step, and the spec that it is read by."""

    model: str
    step: int
    spec: ModelSpec = field(compare=False)


def checkpoints(
    specs: Sequence[str | ModelSpec] = (),
    globs: Sequence[str] = (),
    *,
    placed: Callable[[ModelSpec], ModelSpec] = lambda spec: spec,
) -> tuple[Checkpoint, ...]:
    """The checkpoints that specs and globs name, by model and step.

    The step is the number behind a word such as ``step`` or ``checkpoint`` in the last part of the path (or in the
    revision), or else the last number there; the model is the folder above, or the name on the hub, with the options
    that ask for another table than the input embedding. A spec without a number has step 0. The layers of a ``hidden:``
    spec are models of their own, ``layer=all`` being one a layer. A glob may have a scheme in front and options behind,
    as a spec has. ``placed`` is what becomes of each spec, such as one with a matrix that was asked for apart from it.

    Raises
    ------
    UsageError
        Nothing is named, a glob matches nothing, a spec can't be parsed, or two checkpoints of one model have the same
        step.
    SourceError
        The number of layers can't be read.
    """
    given = [parse(spec) if isinstance(spec, str) else spec for spec in specs]
    found: dict[str, Checkpoint] = {}
    for spec in (*given, *(spec for pattern in globs for spec in matching(pattern))):
        for one in sources.expand(placed(spec)):
            found.setdefault(one.text, _checkpoint(one))
    if not found:
        raise UsageError("no checkpoints: name specs, or a --glob such as 'runs/*/checkpoint-*'")
    ordered = tuple(sorted(found.values()))
    for first, second in pairwise(ordered):
        if (first.model, first.step) == (second.model, second.step):
            raise UsageError(
                f"two checkpoints of {first.model!r} have step {first.step}: {first.spec.text} and {second.spec.text}; "
                "sweep them apart, or rename one"
            )
    return ordered


def bundles(plan: Iterable[Checkpoint]) -> list[list[Checkpoint]]:
    """The checkpoints, each by itself, but for the layers of one model: those come of one run of it."""
    together: dict[object, list[Checkpoint]] = {}
    for one in plan:
        spec, options = one.spec, dict(one.spec.options)
        of_layers = options.pop("layer", None) is not None
        options.pop("keep", None)
        together.setdefault((spec.target, *options.items()) if of_layers else spec.text, []).append(one)
    return list(together.values())


def matching(pattern: str, like: ModelSpec | None = None) -> list[ModelSpec]:
    """The specs whose paths a pattern matches: read as it says, or else as another spec is."""
    scheme, colon, _ = pattern.partition(":")
    wanted = parse(pattern if colon and scheme in sources.schemes() else _relative(pattern))
    if like is not None and wanted.scheme == "directory" and not wanted.options:
        wanted = at(like, wanted.target)
    paths = sorted(glob.glob(str(Path(wanted.target).expanduser()), recursive=True))  # noqa: PTH207 - may be absolute
    if not paths:
        raise UsageError(f"--glob {pattern!r} matches nothing")
    return [at(wanted, _relative(path)) for path in paths]


def at(spec: ModelSpec, path: str) -> ModelSpec:
    """Another checkpoint, read as a spec says: by its scheme, with its options."""
    head = f"{spec.scheme}:" if spec.text.startswith(f"{spec.scheme}:") else ""
    rest = spec.text[len(head) + len(spec.target) :]
    return parse((head or _SCHEMES.get(Path(path).suffix, "")) + path + rest)


def _relative(path: str) -> str:
    return path if path.startswith(("/", "./", "../", "~")) else f"./{path}"


def _checkpoint(spec: ModelSpec) -> Checkpoint:
    if (layer := spec.option("layer")) is not None:
        whole = _checkpoint(parse(spec.target))
        return Checkpoint(f"{whole.model}@layer{layer}{_table(spec)}", whole.step, spec)
    target = spec.target.rstrip("/")
    if spec.revision is not None:
        return Checkpoint(target + _table(spec), _step(spec.revision), spec)
    parent = target.rpartition("/")[0].removeprefix("./")
    if not parent:  # demo, random:VxD, a file beside us
        return Checkpoint(spec.alias + _table(spec), 0 if spec.scheme in {"demo", "random"} else _step(target), spec)
    prefix = f"{spec.scheme}:" if spec.scheme in {"st", "model2vec"} else ""  # of one folder, other tables
    return Checkpoint(f"{prefix}{parent}{_table(spec)}", _step(target.rpartition("/")[2]), spec)


def _table(spec: ModelSpec) -> str:
    asked = ((key, spec.option(key)) for key in _OTHER_TABLES)
    return "".join(f",{key}={value}" for key, value in asked if value is not None)


def _step(name: str) -> int:
    for words in _NAMED_STEPS:
        if numbers := words.findall(name):
            return int(numbers[-1])
    numbers = _NUMBER.findall(name)
    return int(numbers[-1]) if numbers else 0


def fingerprint(spec: ModelSpec) -> str | None:
    """A cheap key of the files that a spec names: names, sizes and times of change, which training doesn't rewrite.

    ``None`` where there are no files here to look at: then only the tensor itself tells whether it is a known one.
    """
    path = Path(spec.target).expanduser()
    if not spec.target or not path.exists():
        return None
    beside = [one for _, value in spec.options if (one := Path(value).expanduser()).is_file()]  # vocab=, prompts=
    files = [*([path] if path.is_file() else sorted(f for f in path.iterdir() if f.is_file())), *beside]
    digest = hashlib.sha256(spec.text.encode("utf-8", "surrogatepass"))
    for file in files:
        found = file.stat()
        digest.update(f"\0{file.name}\0{found.st_size}\0{found.st_mtime_ns}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
