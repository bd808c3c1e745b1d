"""The parts of a sentence-transformers directory, as its modules.json lists them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError
from embcheck.sources.files.looking import printable, read_json

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Module", "default_prompt", "pooled_width", "pooling_modes", "read_config", "read_modules"]

ENCODERS = ("Transformer", "StaticEmbedding")
AFTER = ("Pooling", "Normalize", "Dense", "LayerNorm", "Dropout")
_TYPE = re.compile(
    r"sentence_transformers\.(?:models|base\.modules|sentence_transformer\.modules)(?:\.[a-z_]{1,40})?\.(\w{1,40})",
    re.ASCII,
)
_LARGEST_CONFIG = 16 * 2**20
_MOST_MODULES = 32
_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True, slots=True)
class Module:
    """One part of an encoder: the class that runs it, by its bare name, and the directory of its files."""

    kind: str
    folder: Path


def read_modules(folder: Path) -> tuple[Module, ...]:
    """Read modules.json: one encoder, then what works on its output."""
    path = folder / "modules.json"
    if not path.is_file():
        raise SourceError(
            f"{folder} holds no modules.json, so it is no sentence-transformers directory; give that, "
            "or leave out 'st:' to check a model's token embeddings"
        )
    entries = read_config(path, list)
    if not 1 <= len(entries) <= _MOST_MODULES:
        raise SourceError(f"{path} lists {len(entries)} modules; from 1 to {_MOST_MODULES} are read")
    modules = tuple(_module(path, entry) for entry in entries)
    for at, module in enumerate(modules):
        if (module.kind in ENCODERS) != (at == 0):
            raise SourceError(
                f"{path}: module {at} is {module.kind}; the first must be one of {', '.join(ENCODERS)} and no other"
            )
    return modules


def read_config(path: Path, kind: type[list[Any] | dict[str, Any]] = dict) -> Any:
    """A small JSON file of a model."""
    try:
        size = path.stat().st_size
    except OSError:
        raise SourceError(f"{path} is missing or can't be read; download the model again") from None
    if size > _LARGEST_CONFIG:
        raise SourceError(f"{path} is larger than any model's; download the model again")
    document = read_json(path)
    if not isinstance(document, kind):
        raise SourceError(f"{path} is no JSON {'list' if kind is list else 'object'}; download the model again")
    return document


def default_prompt(folder: Path) -> str:
    """The text that the model puts before every text by itself, empty for most models."""
    path = folder / "config_sentence_transformers.json"
    if not path.is_file():
        return ""
    config = read_config(path)
    name, prompts = config.get("default_prompt_name"), config.get("prompts")
    if name is None:
        return ""
    prompt = prompts.get(name) if isinstance(prompts, dict) and isinstance(name, str) else None
    if not isinstance(prompt, str):
        raise SourceError(f"{path}: default_prompt_name is {name!r}, which is none of its prompts; give prefix=TEXT")
    return prompt


def pooling_modes(config: dict[str, Any]) -> tuple[str, ...]:
    """How a Pooling module makes one vector of a text's, by either of the forms that its config.json has had."""
    mode = config.get("pooling_mode")
    if isinstance(mode, str):
        return (mode,)
    if isinstance(mode, list):
        return tuple(str(part) for part in mode)
    return tuple(name for key, name in _POOLING.items() if config.get(key)) or ("mean",)


def pooled_width(modules: tuple[Module, ...]) -> int | None:
    """How long the vectors are that come out, ``None`` where no module says."""
    for module in reversed(modules):
        if module.kind == "Dense":
            return _whole(read_config(module.folder / "config.json").get("out_features"))
        if module.kind == "Pooling":
            config = read_config(module.folder / "config.json")
            width = _whole(config.get("embedding_dimension", config.get("word_embedding_dimension")))
            return None if width is None else width * len(pooling_modes(config))
    return None


def _module(path: Path, entry: Any) -> Module:
    fields = entry if isinstance(entry, dict) else {}
    kind, where = fields.get("type"), fields.get("path")
    if not isinstance(kind, str) or not isinstance(where, str):
        raise SourceError(f"{path} has a module without type and path; download the model again")
    match = _TYPE.fullmatch(kind)
    if match is None or match[1] not in ENCODERS + AFTER:
        raise SourceError(
            f"{path} asks for {printable(kind)}, and no class is run but sentence_transformers' own "
            f"{', '.join(ENCODERS + AFTER)}; leave out 'st:' to check its token embeddings"
        )
    folder = path.parent if where in {"", "."} else path.parent.joinpath(*_plain(path, where))
    return Module(match[1], folder)


def _plain(path: Path, where: str) -> list[str]:
    """The parts of a path that stays inside the directory, on any operating system."""
    parts = where.removesuffix("/").split("/")
    if any(part in {"", ".", ".."} or part.startswith("~") for part in parts) or any(c in where for c in "\\:"):
        raise SourceError(
            f"{path} points to {where!r}, which is no plain relative path; modules must lie in the directory itself"
        )
    return parts


def _whole(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None
