"""A copy of an encoder's directory that holds only what is known to be data.

The libraries that run an encoder take files by many names, and settings that name further files, hub models, kernels
and classes. So they are never shown the directory itself but a temporary one: weights as safetensors whose headers were
checked, tokenizer files, and settings of which only known keys are left (of a transformer's config.json, which has too
many keys to list, those that name files or code are taken out).
"""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError
from embcheck.sources.encoders.modules import Module, read_config
from embcheck.sources.files.folder import LocalFolder
from embcheck.sources.files.looking import printable
from embcheck.sources.tokenizers.load import tokenizer_files
from embcheck.sources.weights.checkpoint import SAFETENSORS, Checkpoint, open_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["stage", "stage_transformer"]

_TYPE = "sentence_transformers.models.{}"  # the name that old and new releases know
_KEYS = {
    "Pooling": re.compile(r"(word_)?embedding_dimension|pooling_mode(_[a-z_]+)?|include_prompt"),
    "Dense": re.compile(r"in_features|out_features|bias|activation_function|use_residual"),
    "LayerNorm": re.compile(r"dimension"),
    "Dropout": re.compile(r"dropout"),
    "tokenizer": re.compile(
        r"[a-z_]+_tokens?|added_tokens_decoder|model_max_length|(padding|truncation)_side|tokenizer_class|"
        r"model_input_names|do_lower_case|strip_accents|tokenize_chinese_chars|add_prefix_space|legacy|"
        r"clean_up_tokenization_spaces|split_special_tokens|do_basic_tokenize|never_split"
    ),
    "sentence_bert": re.compile(r"max_seq_length|do_lower_case"),
}
_WEIGHTED = frozenset({"Dense", "LayerNorm", "StaticEmbedding"})
_ACTIVATION = re.compile(
    r"torch\.nn\.modules\.(linear\.Identity|activation\."
    r"(ELU|GELU|Hardtanh|LeakyReLU|Mish|PReLU|ReLU|ReLU6|SELU|SiLU|Sigmoid|Softplus|Softsign|Tanh))"
)
_NAMES_CODE = re.compile(
    r".*(auto_map|_name_or_path|attn_implementation|experts_implementation|kernel|transformers_weights|adapter"
    r"|custom_pipelines|_file|_path|backbone)s?.*"
)
_LARGEST_NUMBER = 2**26  # vocabularies have up to 2**22 rows; exempt are bases of rotary angles
_MOST_LAYERS = 1024
_DEEPEST = 16


def stage(modules: tuple[Module, ...], into: Path) -> None:
    """Fill an empty directory with what an encoder consists of."""
    listed = []
    for at, module in enumerate(modules):
        name = f"{at}_{module.kind}"
        (into / name).mkdir()
        _stage_module(module, into / name)
        listed.append({"idx": at, "name": str(at), "path": name, "type": _TYPE.format(module.kind)})
    _write(into / "modules.json", listed)


def _stage_module(module: Module, into: Path) -> None:
    if module.kind == "Transformer":
        stage_transformer(module.folder, into)
    elif module.kind == "StaticEmbedding":
        _link(module.folder / "tokenizer.json", into)
    elif module.kind != "Normalize":
        path = module.folder / "config.json"
        config = _only(read_config(path), _KEYS[module.kind])
        _require_plain(path, config)
        activation = config.get("activation_function")
        if activation is not None and not _ACTIVATION.fullmatch(str(activation)):
            raise SourceError(f"{path} asks for {printable(str(activation))}, and only PyTorch's own functions are run")
        _write(into / "config.json", config)
    if module.kind in _WEIGHTED:
        _stage_weights(module.folder, into)


def stage_transformer(folder: Path, into: Path) -> None:
    """Fill an empty directory with what a transformer consists of."""
    names = LocalFolder(folder).names()
    if "adapter_config.json" in names:
        raise SourceError(f"{folder} is an adapter, which needs another model; merge the two and save the result")
    config = read_config(folder / "config.json")
    if "quantization_config" in config:
        raise SourceError(f"{folder / 'config.json'}: the weights are quantized; give a checkpoint of floats")
    _write(into / "config.json", _harmless(folder / "config.json", config))
    if "sentence_bert_config.json" in names:
        _write_known(folder, "sentence_bert_config.json", "sentence_bert", into)
    for name in tokenizer_files(names):
        if name in {"tokenizer_config.json", "special_tokens_map.json"}:
            _write_known(folder, name, "tokenizer", into)
        elif not name.startswith("tokenizer.") or name in {"tokenizer.json", "tokenizer.model"}:
            _link(folder / name, into)
    _stage_weights(folder, into)


def _stage_weights(folder: Path, into: Path) -> None:
    """Link the files of weights, every header of which is checked, and write an index of our own."""
    checkpoint: Checkpoint = open_checkpoint(LocalFolder(folder))
    if not all(file.endswith(SAFETENSORS) for file in checkpoint.files):
        raise SourceError(f"{folder} has its weights as a pickle, which is not run; save it again as safetensors")
    checkpoint.stored(checkpoint.file_of)
    for file in checkpoint.files:
        _link(folder / file, into, "model.safetensors" if len(checkpoint.files) == 1 else file)
    if len(checkpoint.files) > 1:
        _write(into / "model.safetensors.index.json", {"metadata": {}, "weight_map": checkpoint.file_of})


def _write_known(folder: Path, name: str, keys: str, into: Path) -> None:
    _write(into / name, _only(read_config(folder / name), _KEYS[keys]))


def _only(config: dict[str, Any], keys: re.Pattern[str]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if keys.fullmatch(key)}


def _harmless(path: Path, value: Any, key: str = "", depth: int = 0) -> Any:
    """Settings of a transformer without those that name files, hub models or code."""
    if depth > _DEEPEST:
        raise SourceError(f"{path} is nested deeper than any model's; download the model again")
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not _NAMES_CODE.fullmatch(k) and not _is_path(v)}
        return {k: _harmless(path, v, k, depth + 1) for k, v in kept.items()}
    if isinstance(value, list):
        return [_harmless(path, v, key, depth + 1) for v in value if not _is_path(v)]
    _require_plain(path, {key: value})
    return value


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and ("/" in value or "\\" in value or value.startswith("~"))


def _require_plain(path: Path, config: dict[str, Any]) -> None:
    """Refuse sizes that no model has, before anything of them is allocated."""
    for key, value in config.items():
        most = _MOST_LAYERS if "layers" in key else _LARGEST_NUMBER
        if type(value) is int and not -most <= value <= most and "theta" not in key:
            raise SourceError(f"{path}: {printable(key)} is {value}, more than any model has; download the model again")


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")


def _link(path: Path, into: Path, name: str | None = None) -> None:
    target = into / (name or path.name)
    if not path.is_file():
        raise SourceError(f"{path} is missing; download the model again")
    try:
        target.symlink_to(path.resolve())
    except OSError:  # a file system or an account that has no links
        shutil.copyfile(path, target)
