"""Names of models and files on the hub, as specs write them. Parsing only."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from embcheck.errors import SpecError
from embcheck.spec import split_revision

if TYPE_CHECKING:
    from embcheck.spec import ModelSpec

_PART = r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?"
_REPO = re.compile(rf"{_PART}/{_PART}", re.ASCII)
_BARE = re.compile(_PART, re.ASCII)
_NAME = re.compile(
    rf"(?P<repo>{_PART}(?:/{_PART})?)(?:/(?P<file>[^@]+\.(?:gguf|safetensors|bin|pt|pth|ckpt)))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class HubName:
    """A repository, and the one file of it that is meant, if any."""

    repo: str
    file: str | None


def hub_name(spec: ModelSpec) -> HubName:
    """Read the target of an ``hf:`` spec."""
    match = _NAME.fullmatch(spec.target)
    if match is None:
        raise SpecError(
            f"spec {spec.text!r}: {spec.target!r} names no model on the hub; "
            "write hf:org/name, hf:org/name@revision or hf:org/name/file.gguf"
        )
    return HubName(match["repo"], match["file"])


def route(spec: ModelSpec) -> ModelSpec:
    """The spec itself; or, where it names nothing on disk but might name a model on the hub, that of ``hf:``."""
    name = spec.target
    if spec.scheme == "directory" and not _exists(name):
        target, revision = split_revision(name)
        if _REPO.fullmatch(name):
            return replace(spec, scheme="hf")
        if _BARE.fullmatch(target) and not Path(target).suffix[1:].isalpha():  # gpt2, and no name of a file
            return replace(spec, scheme="hf", target=target, revision=revision)
    if spec.scheme == "gguf" and not _exists(name):
        target, revision = split_revision(name)
        match = _NAME.fullmatch(target)
        if match is not None and match["file"] and "/" in match["repo"]:
            return replace(spec, scheme="hf", target=target, revision=revision)
    return spec


def _exists(name: str) -> bool:
    try:
        return Path(name).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False
