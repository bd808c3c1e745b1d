"""Words through a sentence encoder: pooled and normalised as the model says, on the device asked for."""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError
from embcheck.sources.encoders.run_model import bad_models, quiet, require_all_weights
from embcheck.sources.encoders.stage import stage
from embcheck.sources.files.folder import LocalFolder
from embcheck.sources.files.looking import one_line
from embcheck.sources.tokenizers.load import offline
from embcheck.sources.weights.checkpoint import open_checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor

    from embcheck.sources.encoders.modules import Module

__all__ = ["encode", "model_sha256", "require_library", "weight_files"]

_BATCH = 64


def require_library() -> None:
    """Check that sentence-transformers is there, without importing it."""
    if importlib.util.find_spec("sentence_transformers") is None:
        raise SourceError("encoding words needs sentence-transformers; pip install 'embcheck[st]', or add space=tokens")


def encode(modules: tuple[Module, ...], words: Sequence[str], *, prefix: str, device: torch.device) -> Tensor:
    """Encode each word behind a prefix: (n, d) float32 vectors on the CPU."""
    require_library()
    origin = modules[0].folder
    try:
        with tempfile.TemporaryDirectory(prefix="embcheck-") as folder, quiet(), offline():
            stage(modules, Path(folder))
            model = _load(origin, folder, device)
            vectors: Tensor = model.encode(
                list(words), prompt=prefix or None, batch_size=_BATCH, convert_to_tensor=True, show_progress_bar=False
            )
            return vectors.detach().float().cpu()
    except bad_models() as error:
        raise SourceError(f"the encoder in {origin} can't be run: {one_line(error)}") from None


def weight_files(modules: tuple[Module, ...]) -> list[Path]:
    """Every file that holds weights of the encoder."""
    weighted = [m.folder for m in modules if m.kind in {"Transformer", "StaticEmbedding", "Dense", "LayerNorm"}]
    return [folder / file for folder in weighted for file in open_checkpoint(LocalFolder(folder)).files]


def model_sha256(modules: tuple[Module, ...]) -> str:
    """Hash over the encoder's files of weights, one after the other."""
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
        _, report = type(inner).from_pretrained(
            Path(folder) / "0_Transformer",
            config=inner.config,
            local_files_only=True,
            output_loading_info=True,
            use_safetensors=True,
        )
        require_all_weights(origin, report)
    return model.float().eval()
