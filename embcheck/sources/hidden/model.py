"""A whole transformer, run on prompts: safetensors only, none of the model's own code, nothing random."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError
from embcheck.sources.encoders.modules import read_config, stage_transformer
from embcheck.sources.encoders.run import quiet, require_all_weights
from embcheck.sources.files import LocalFolder, one_line
from embcheck.sources.tokenizers.load import library_errors, load_tokenizer, offline, tokenizer_files
from embcheck.sources.tokenizers.vocabulary import calm
from embcheck.sources.weights.checkpoint import SAFETENSORS, open_checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from tokenizers import Tokenizer
    from torch import Tensor

    from embcheck.spec import ModelSpec

_LAYERS = ("encoder_layers", "num_encoder_layers", "num_hidden_layers", "n_layer", "n_layers", "num_layers")
_WIDTHS = ("hidden_size", "n_embd", "d_model", "dim")
_LENGTHS = ("max_position_embeddings", "n_positions", "n_ctx")
_BATCH_TOKENS = 4_096


def from_hub(spec: ModelSpec) -> Path:
    """The directory that a model on the hub is kept in, once all of its files that are needed have been moved."""
    from embcheck.sources.hub.names import hub_name
    from embcheck.sources.hub.source import resolve

    hub = hub_name(spec)
    if hub.file is not None:
        raise SourceError(f"hidden:{spec.target} names one file; give the whole model, {hub.repo}")
    folder = resolve(hub.repo, spec.revision)
    weights = open_checkpoint(folder).files
    needed = {"config.json", *tokenizer_files(folder.names()), *weights, "model.safetensors.index.json"}
    kept = [folder.fetch(name) for name in sorted(needed & set(folder.names()))]
    return kept[0].parent


def size(folder: Path) -> int:
    """Bytes of the model's weights."""
    files = open_checkpoint(LocalFolder(folder)).files
    if not all(file.endswith(SAFETENSORS) for file in files):
        raise SourceError(f"{folder} has its weights as a pickle, which is not run; save it again as safetensors")
    return sum((folder / file).stat().st_size for file in files)


def layers(folder: Path) -> int:
    """How many blocks the model has, as its settings say."""
    return _number(folder, _LAYERS)


def width(folder: Path) -> int:
    """Length of a hidden state, as the settings say."""
    return _number(folder, _WIDTHS)


def dtype(folder: Path) -> str:
    """The type that the weights are stored in, as the settings say; ``float32`` where they don't."""
    config = read_config(folder / "config.json")
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def tokenizer(folder: Path) -> Tokenizer:
    """The model's tokenizer."""
    made = load_tokenizer(folder)
    calm(made)
    return made


def states(
    folder: Path, encoded: tuple[tuple[int, ...], ...], device: torch.device, layers: tuple[int, ...]
) -> dict[int, tuple[Tensor, ...]]:
    """Run encoded prompts: by layer, for each prompt, (tokens, width) states on the CPU in the model's own dtype.

    Only those of ``layers`` are kept; asked for again, they are had without another run, until another model is run.
    """
    _refuse_long(folder, encoded)
    files = [folder / file for file in open_checkpoint(LocalFolder(folder)).files]
    stamps = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)
    return _states(folder, encoded, device, layers, stamps)


@lru_cache(maxsize=1)  # the layers of one model are asked for one after the other
def _states(
    folder: Path,
    encoded: tuple[tuple[int, ...], ...],
    device: torch.device,
    layers: tuple[int, ...],
    stamps: tuple[tuple[str, int, int], ...],  # noqa: ARG001 - weights that were written again are another model
) -> dict[int, tuple[Tensor, ...]]:
    try:
        with tempfile.TemporaryDirectory(prefix="embcheck-") as staged, quiet(), offline():
            stage_transformer(folder, Path(staged))
            return _run(_load(folder, Path(staged), device), encoded, device, layers)
    except library_errors() as error:
        raise SourceError(f"the model in {folder} can't be run: {one_line(error)}") from None


def _load(origin: Path, staged: Path, device: torch.device) -> Any:
    from transformers import AutoModel

    model, report = AutoModel.from_pretrained(
        staged,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
        attn_implementation="eager",  # kernels may come from the hub, as code
        **_stored_dtype(),
    )
    require_all_weights(origin, report)
    model = model.get_encoder() if model.config.is_encoder_decoder else model
    return model.to(device).eval()


def _stored_dtype() -> dict[str, str]:
    """The argument that keeps weights in the type that they are stored in, by the name this transformers gives it."""
    import transformers

    major, minor = map(int, transformers.__version__.split(".")[:2])
    return {"dtype" if (major, minor) >= (4, 56) else "torch_dtype": "auto"}


def _run(
    model: Any, encoded: Sequence[tuple[int, ...]], device: torch.device, layers: Sequence[int]
) -> dict[int, tuple[Tensor, ...]]:
    import torch

    by_length: dict[int, list[int]] = {}
    for at, ids in enumerate(encoded):
        by_length.setdefault(len(ids), []).append(at)
    states: dict[int, dict[int, Tensor]] = {layer: {} for layer in layers}
    with torch.no_grad():
        for length, prompts in sorted(by_length.items()):
            step = max(1, _BATCH_TOKENS // length)
            for batch in (prompts[i : i + step] for i in range(0, len(prompts), step)):
                tokens = torch.tensor([encoded[at] for at in batch], device=device)
                output = model(input_ids=tokens, attention_mask=torch.ones_like(tokens), output_hidden_states=True)
                for layer, kept in states.items():
                    kept.update(zip(batch, output.hidden_states[layer].cpu(), strict=True))
    return {layer: tuple(kept[at] for at in range(len(encoded))) for layer, kept in states.items()}


def _refuse_long(folder: Path, encoded: Sequence[tuple[int, ...]]) -> None:
    config = read_config(folder / "config.json")
    most = next((config[key] for key in _LENGTHS if isinstance(config.get(key), int)), None)
    longest = max(map(len, encoded))
    if most is not None and longest > most:
        raise SourceError(f"a prompt has {longest} tokens but the model in {folder} takes {most}; give shorter prompts")


def _number(folder: Path, names: tuple[str, ...]) -> int:
    config = read_config(folder / "config.json")
    inner = config.get("text_config")
    for settings in (config, inner if isinstance(inner, dict) else {}):
        for name in names:
            if type(value := settings.get(name)) is int and 0 < value <= 2**20:
                return value
    raise SourceError(f"{folder / 'config.json'} says no {names[0]}; give a transformer that transformers can run")
