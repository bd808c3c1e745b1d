"""Words through a sentence encoder: pooled and normalised as the model says, on the device asked for."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError
from embcheck.sources._checkpoint import open_checkpoint
from embcheck.sources._files import one_line, printable
from embcheck.sources._folder import LocalFolder
from embcheck.sources._load_tokenizer import offline
from embcheck.sources._st_stage import stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch
    from torch import Tensor

    from embcheck.sources._st_modules import Module

__all__ = ["encode", "model_sha256", "require_library", "weight_files"]

_BATCH = 64
_BAD_MODELS = (
    OSError, ValueError, LookupError, TypeError, AttributeError, ImportError, RuntimeError, AssertionError,
    ArithmeticError, MemoryError,
)  # fmt: skip


def require_library() -> None:
    """Check that sentence-transformers is there, without importing it.

    Raises
    ------
    SourceError
        It is not.
    """
    if importlib.util.find_spec("sentence_transformers") is None:
        raise SourceError("encoding words needs sentence-transformers; pip install 'embcheck[st]', or add space=tokens")


def encode(modules: tuple[Module, ...], words: Sequence[str], *, prefix: str, device: torch.device) -> Tensor:
    """Encode each word behind a prefix.

    Parameters
    ----------
    modules
        The encoder.
    words
        What to encode.
    prefix
        Text before each word.
    device
        Where the model runs.

    Returns
    -------
    (n, d) float32 vectors on the CPU.

    Raises
    ------
    SourceError
        The library is missing, or the model is malformed, unsafe, or lacks weights.
    """
    require_library()
    origin = modules[0].folder
    try:
        with tempfile.TemporaryDirectory(prefix="embcheck-") as folder, _quiet(), offline():
            stage(modules, Path(folder))
            model = _load(origin, folder, device)
            vectors: Tensor = model.encode(
                list(words), prompt=prefix or None, batch_size=_BATCH, convert_to_tensor=True, show_progress_bar=False
            )
            return vectors.detach().float().cpu()
    except _bad_models() as error:
        raise SourceError(f"the encoder in {origin} can't be run: {one_line(error)}") from None


def weight_files(modules: tuple[Module, ...]) -> list[Path]:
    """Every file that holds weights of the encoder.

    Raises
    ------
    SourceError
        A module has none.
    """
    weighted = [m.folder for m in modules if m.kind in {"Transformer", "StaticEmbedding", "Dense", "LayerNorm"}]
    return [folder / file for folder in weighted for file in open_checkpoint(LocalFolder(folder)).files]


def model_sha256(modules: tuple[Module, ...]) -> str:
    """Hash over the encoder's files of weights, one after the other.

    Raises
    ------
    SourceError
        One can't be read.
    """
    digest = hashlib.sha256()
    for path in weight_files(modules):
        try:
            with path.open("rb") as file:
                while block := file.read(2**24):
                    digest.update(block)
        except OSError as error:
            raise SourceError(f"cannot read {path}: {one_line(error)}") from None
    return digest.hexdigest()


def _load(origin: Path, folder: str, device: torch.device) -> Any:
    from sentence_transformers import SentenceTransformer

    safe = {"use_safetensors": True, "attn_implementation": "eager"}  # kernels may come from the hub, as code
    model = SentenceTransformer(
        folder, device=str(device), trust_remote_code=False, local_files_only=True, model_kwargs=safe
    )
    inner = getattr(model[0], "auto_model", None)
    if inner is not None:
        _require_all_weights(origin, Path(folder) / "0_Transformer", inner)
    return model.float().eval()


def _require_all_weights(origin: Path, folder: Path, inner: Any) -> None:
    """Refuse a checkpoint that lacks weights: the library would fill them in at random, with no more than a warning."""
    _, report = type(inner).from_pretrained(
        folder, config=inner.config, local_files_only=True, output_loading_info=True, use_safetensors=True
    )
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)  # tokens are pooled by our modules
    if missing:
        raise SourceError(
            f"{origin} lacks {len(missing)} weights that its config.json asks for, such as {printable(missing[0])}; "
            "they would be random; download the model again"
        )


def _bad_models() -> tuple[type[Exception], ...]:
    """What a malformed model makes the libraries raise; settings of a wrong type have a class of their own."""
    from huggingface_hub import errors

    strict: type[Exception] | None = getattr(errors, "StrictDataclassError", None)
    return _BAD_MODELS if strict is None else (*_BAD_MODELS, strict)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the libraries say of old names and defaults from the user, who can do nothing about it."""
    from transformers.utils import logging as library

    bars: Any = library
    disabled, shown = logging.root.manager.disable, bars.is_progress_bar_enabled()
    logging.disable(logging.WARNING)
    bars.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        if shown:
            bars.enable_progress_bar()
