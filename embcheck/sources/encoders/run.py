"""Running a whole model: quiet libraries, all weights present, words pooled and normalised as an encoder says."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from embcheck.errors import SourceError
from embcheck.progress import track
from embcheck.sources.encoders.modules import stage
from embcheck.sources.files import LocalFolder, one_line, printable
from embcheck.sources.tokenizers.load import library_errors, offline
from embcheck.sources.tokenizers.vocabulary import calm
from embcheck.sources.weights.checkpoint import open_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import torch
    from torch import Tensor

    from embcheck.sources.encoders.modules import Module

_BATCH = 64
_TOGETHER = 16_384  # texts, among which those of like length are encoded at once


def require_all_weights(origin: Path, report: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that lacks weights: the library would fill them in at random, with no more than a warning."""
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)  # tokens are pooled by our modules
    if missing:
        raise SourceError(
            f"{origin} lacks {len(missing)} weights that its config.json asks for, such as {printable(missing[0])}; "
            "they would be random; download the model again"
        )


@contextmanager
def quiet() -> Iterator[None]:
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


def require_library() -> None:
    """Check that sentence-transformers is there, without importing it."""
    if importlib.util.find_spec("sentence_transformers") is None:
        raise SourceError("encoding words needs sentence-transformers; pip install 'embcheck[st]', or add space=tokens")


def encode(
    modules: tuple[Module, ...], words: Sequence[str], *, prefix: str, device: torch.device, width: int | None = None
) -> Tensor:
    """Encode each word behind a prefix: (n, d) float32 vectors on the CPU, of which the first ``width`` are kept."""
    require_library()
    origin = modules[0].folder
    try:
        with tempfile.TemporaryDirectory(prefix="embcheck-") as folder, quiet(), offline():
            stage(modules, Path(folder))
            model = load_encoder(origin, folder, device)
            made = (
                model.encode(
                    list(words[start : start + _TOGETHER]),
                    prompt=prefix or None,
                    batch_size=_BATCH,
                    convert_to_tensor=True,
                    show_progress_bar=False,
                )
                for start in track(range(0, len(words), _TOGETHER), "texts")
            )
            return _stacked(made, len(words), width)
    except library_errors() as error:
        raise SourceError(f"the encoder in {origin} can't be run: {one_line(error)}") from None


def _stacked(blocks: Iterable[Tensor], rows: int, width: int | None) -> Tensor:
    """All rows of the blocks, cut as sentence-transformers does: after all modules. No more is held than they take."""
    import torch

    matrix, start = torch.empty((0, 0)), 0
    for block in blocks:
        some = block[:, :width].detach().float().cpu()
        if not start:
            matrix = torch.empty((rows, some.shape[1]))
        matrix[start : start + len(some)] = some
        start += len(some)
    return matrix


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


def load_encoder(origin: Path, folder: str, device: torch.device) -> Any:
    """The SentenceTransformer of a staged directory, in float32, with all of its weights."""
    from sentence_transformers import SentenceTransformer

    safe = {"use_safetensors": True, "attn_implementation": "eager"}  # kernels may come from the hub, as code
    model = SentenceTransformer(
        folder, device=str(device), trust_remote_code=False, local_files_only=True, model_kwargs=safe
    )
    given = getattr(model[0], "tokenizer", None)
    backend = getattr(given, "backend_tokenizer", given)
    if isinstance(backend, Tokenizer):
        calm(backend)
    inner = getattr(model[0], "auto_model", None)
    if inner is not None:
        _, report = type(inner).from_pretrained(
            Path(folder) / "0_Transformer",
            config=inner.config,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            use_safetensors=True,
        )
        require_all_weights(origin, report)
    return model.float().eval()
