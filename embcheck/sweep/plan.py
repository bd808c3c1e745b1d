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
    from collections.abc import Iterable, Sequence

    from embcheck.spec import ModelSpec

__all__ = ["Checkpoint", "checkpoints", "fingerprint"]

_NAMED_STEP = re.compile(r"(?:checkpoint|ckpt|step|iter|epoch|global_step)s?[-_=]?(\d+)", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
_SCHEMES = {".gguf": "gguf:", ".npy": "npy:"}


@dataclass(frozen=True, slots=True, order=True)
class Checkpoint:
    """One checkpoint: the run that it belongs to, its training step, and the spec that it is read by."""

    model: str
    step: int
    spec: ModelSpec = field(compare=False)


def checkpoints(specs: Sequence[str] = (), globs: Sequence[str] = ()) -> tuple[Checkpoint, ...]:
    """The checkpoints that specs and globs name, by model and step.

    The step is the number behind a word such as ``checkpoint`` or ``step`` in the last part of the path (or in the
    revision), or else the last number there; the model is the folder above, or the name on the hub. A spec without a
    number has step 0. The layers of a ``hidden:`` spec are models of their own, ``layer=all`` being one a layer.

    Raises
    ------
    UsageError
        Nothing is named, a glob matches nothing, a spec can't be parsed, or two checkpoints of one model have the same
        step.
    SourceError
        The number of layers can't be read.
    """
    found: dict[str, Checkpoint] = {}
    named = (one for text in specs for one in sources.expand(parse(text)))
    for one in (*named, *_matches(globs)):
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


def _matches(globs: Iterable[str]) -> Iterable[ModelSpec]:
    for pattern in globs:
        paths = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - patterns may be absolute
        if not paths:
            raise UsageError(f"--glob {pattern!r} matches nothing")
        for path in paths:
            plain = path if path.startswith(("/", "./", "../")) else f"./{path}"
            yield parse(_SCHEMES.get(Path(path).suffix, "") + plain)


def _checkpoint(spec: ModelSpec) -> Checkpoint:
    if (layer := spec.option("layer")) is not None:
        whole = _checkpoint(parse(spec.target))
        return Checkpoint(f"{whole.model}@layer{layer}", whole.step, spec)
    target = spec.target.rstrip("/")
    if spec.revision is not None:
        return Checkpoint(target, _step(spec.revision), spec)
    parent = target.rpartition("/")[0].removeprefix("./")
    if not parent:  # demo, random:VxD, a file beside us
        return Checkpoint(spec.alias, 0 if spec.scheme in {"demo", "random"} else _step(target), spec)
    return Checkpoint(parent, _step(target.rpartition("/")[2]), spec)


def _step(name: str) -> int:
    if named := _NAMED_STEP.search(name):
        return int(named[1])
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
