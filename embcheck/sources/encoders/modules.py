"""The parts of a sentence-transformers directory, as its modules.json lists them, and a copy that holds only data.

The libraries that run an encoder take files by many names, and settings that name further files, hub models, kernels
and classes. So they are never shown the directory itself but a temporary one: weights as safetensors whose headers were
checked, tokenizer files, and settings of which only known keys are left (of a transformer's config.json, which has too
many keys to list, those that name files or code are taken out).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError
from embcheck.sources.files import LocalFolder, drop_code, link, printable, read_json
from embcheck.sources.tokenizers.load import tokenizer_files
from embcheck.sources.weights.checkpoint import SAFETENSORS, Checkpoint, open_checkpoint, refuse_adapter

if TYPE_CHECKING:
    from pathlib import Path

    from embcheck.sources.files import JsonObject

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
_CLASS = "sentence_transformers.models.{}"  # the name that old and new releases know
_KEYS = {
    "Pooling": re.compile(r"(word_)?embedding_dimension|pooling_mode(_[a-z_]+)?|include_prompt"),
    "Dense": re.compile(r"in_features|out_features|bias|activation_function|use_residual|module_(in|out)put_name"),
    "Normalize": re.compile(r"module_(in|out)put_name"),
    "LayerNorm": re.compile(r"dimension"),
    "Dropout": re.compile(r"dropout"),
    "tokenizer": re.compile(
        r"[a-z_]+_tokens?|added_tokens_decoder|model_max_length|(padding|truncation)_side|tokenizer_class|"
        r"model_input_names|do_lower_case|strip_accents|tokenize_chinese_chars|add_prefix_space|legacy|"
        r"clean_up_tokenization_spaces|split_special_tokens|do_basic_tokenize|never_split"
    ),
    "sentence_bert": re.compile(r"max_seq_length|do_lower_case"),
}
_BY_DEFAULT: dict[str, Any] = {  # settings that ask for what is done anyway; any other value would be dropped
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_input_name": "sentence_embedding",
    "module_output_name": "sentence_embedding",
}
_TRANSFORMERS_DEFAULT = {**_BY_DEFAULT, "module_output_name": "token_embeddings"}
_HARMLESS = frozenset({"__version__", "unpad_inputs", "dropout"})
_FEATURE = re.compile(r"sentence_embedding|token_embeddings")
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


def read_config(path: Path, kind: type[list[Any] | JsonObject] = dict) -> Any:
    """A small JSON file of a model."""
    try:
        size = path.stat().st_size
    except OSError:
        raise SourceError(f"{path} is missing or can't be read; download the model again") from None
    if size > _LARGEST_CONFIG:
        raise SourceError(f"{path} is larger than any model's; download the model again")
    document = drop_code(read_json(path))
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


def truncated_width(folder: Path) -> int | None:
    """How many numbers of each vector the model keeps by itself, ``None`` where it keeps all."""
    path = folder / "config_sentence_transformers.json"
    width = read_config(path).get("truncate_dim") if path.is_file() else None
    if width is not None and _whole(width) is None:
        raise SourceError(f"{path}: truncate_dim is {width!r}, which is no number of dimensions; correct it")
    return _whole(width)


def pooling_modes(config: JsonObject) -> tuple[str, ...]:
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
    if not where.isprintable():  # no system has a folder of that name
        raise SourceError(f"{path} has a module in {printable(where)}, which is no folder; download the model again")
    match = _TYPE.fullmatch(kind)
    if match is None or match[1] not in ENCODERS + AFTER:
        raise SourceError(
            f"{path} asks for {printable(kind)}, and no class is run but sentence_transformers' own "
            f"{', '.join(ENCODERS + AFTER)}; {_way_out(path.parent, match[1] if match else '', where)}"
        )
    folder = path.parent if where in {"", "."} else path.parent.joinpath(*_plain(path, where))
    return Module(match[1], folder)


def _way_out(root: Path, kind: str, where: str) -> str:
    """What to give instead of an encoder that is not run: some part of it that can be read."""
    folder = root.joinpath(*_plain(root, where)) if where not in {"", "."} else root
    if kind == "WordEmbeddings":
        return (
            "save its table as word vectors (numpy.save of emb_layer.weight, and the vocab of its tokenizer's "
            "config as a JSON list) and give npy:FILE,vocab=FILE"
        )
    inside = sorted(path for path in folder.glob("*") if path.is_dir()) if kind in {"Router", "Asym"} else []
    if statics := [path for path in inside if path.name.endswith("StaticEmbedding")]:
        return f"give the table of one of its parts, as model2vec:{statics[0]}"
    for path in [*inside, folder]:
        if any(file.suffix == SAFETENSORS or file.name == "pytorch_model.bin" for file in path.glob("*.*")):
            return f"give {path} to check its token embeddings"
    return "check a model's token embeddings by giving the directory that its weights are in"


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


def stage(modules: tuple[Module, ...], into: Path) -> None:
    """Fill an empty directory with what an encoder consists of."""
    listed = []
    for at, module in enumerate(modules):
        name = f"{at}_{module.kind}"
        (into / name).mkdir()
        _stage_module(module, into / name)
        listed.append({"idx": at, "name": str(at), "path": name, "type": _CLASS.format(module.kind)})
    _write(into / "modules.json", listed)


def _stage_module(module: Module, into: Path) -> None:
    if module.kind == "Transformer":
        stage_transformer(module.folder, into)
    elif module.kind == "StaticEmbedding":
        link(module.folder / "tokenizer.json", into)
    elif module.kind != "Normalize" or (module.folder / "config.json").is_file():
        path = module.folder / "config.json"
        config = _only(path, _KEYS[module.kind], _BY_DEFAULT)
        _require_plain(path, config)
        for key in ("module_input_name", "module_output_name"):
            if not _FEATURE.fullmatch(str(config.get(key, "sentence_embedding"))):
                raise SourceError(f"{path}: {key} {printable(str(config[key]))} is none that encoders have; correct it")
        activation = config.get("activation_function")
        if activation is not None and not _ACTIVATION.fullmatch(str(activation)):
            raise SourceError(f"{path} asks for {printable(str(activation))}, and only PyTorch's own functions are run")
        _write(into / "config.json", config)
    if module.kind in _WEIGHTED:
        _stage_weights(module.folder, into)


def stage_transformer(folder: Path, into: Path) -> None:
    """Fill an empty directory with what a transformer consists of."""
    names = LocalFolder(folder).names()
    refuse_adapter(LocalFolder(folder), names)
    config = read_config(folder / "config.json")
    if "quantization_config" in config:
        raise SourceError(f"{folder / 'config.json'}: the weights are quantized; give a checkpoint of floats")
    _write(into / "config.json", _harmless(folder / "config.json", config))
    if "sentence_bert_config.json" in names:
        config = _only(folder / "sentence_bert_config.json", _KEYS["sentence_bert"], _TRANSFORMERS_DEFAULT)
        _write(into / "sentence_bert_config.json", config)
    for name in tokenizer_files(names):
        if name in {"tokenizer_config.json", "special_tokens_map.json"}:
            _write_tokenizer(folder, name, into)
        elif not name.startswith("tokenizer.") or name in {"tokenizer.json", "tokenizer.model"}:
            link(folder / name, into)
    _stage_weights(folder, into)


def _stage_weights(folder: Path, into: Path) -> None:
    """Link the files of weights, every header of which is checked, and write an index of our own."""
    checkpoint: Checkpoint = open_checkpoint(LocalFolder(folder))
    if not all(file.endswith(SAFETENSORS) for file in checkpoint.files):
        raise SourceError(f"{folder} has its weights as a pickle, which is not run; save it again as safetensors")
    checkpoint.stored(checkpoint.file_of)
    for file in checkpoint.files:
        link(folder / file, into, "model.safetensors" if len(checkpoint.files) == 1 else file)
    if len(checkpoint.files) > 1:
        _write(into / "model.safetensors.index.json", {"metadata": {}, "weight_map": checkpoint.file_of})


def _write_tokenizer(folder: Path, name: str, into: Path) -> None:
    """Settings of a tokenizer: most of those that are dropped are about chats, or stand in tokenizer.json too."""
    config = read_config(folder / name)
    _write(into / name, {key: value for key, value in config.items() if _KEYS["tokenizer"].fullmatch(key)})


def _only(path: Path, keys: re.Pattern[str], defaults: JsonObject) -> JsonObject:
    """The settings that are honoured; refuses those that ask for anything else than what is done without them."""
    config = read_config(path)
    for key, value in config.items():
        unset = value is None or value is False or value in ({}, [], "")
        if not keys.fullmatch(key) and key not in _HARMLESS and not unset and value != defaults.get(key):
            raise SourceError(
                f"{path}: the setting {printable(key)} is not known here, and without it the vectors may be others; "
                "add space=tokens, or encode words yourself and give them as npy:FILE,vocab=FILE"
            )
    kept = {key: value for key, value in config.items() if keys.fullmatch(key)}
    return {key: value for key, value in kept.items() if key not in defaults or value != defaults[key]}


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


def _require_plain(path: Path, config: JsonObject) -> None:
    """Refuse sizes that no model has, before anything of them is allocated."""
    for key, value in config.items():
        most = _MOST_LAYERS if "layers" in key else _LARGEST_NUMBER
        if type(value) is int and not -most <= value <= most and "theta" not in key:
            raise SourceError(f"{path}: {printable(key)} is {value}, more than any model has; download the model again")


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")
