"""An encoder taken apart: texts to tokens, tokens to pooled states, these to vectors, each also as it shouldn't be.

`encode` says what an encoder makes of texts. Here every step can be asked for alone and done otherwise, to find out how
somebody else's vectors of the same texts were made. All is float32 on the CPU, so that it is the same twice.
"""

from __future__ import annotations

import copy
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tokenizers import Tokenizer

from embcheck.errors import NotMeasurable, SourceError, SpecError
from embcheck.sources.encoders.modules import (
    Module,
    default_prompt,
    pooling_modes,
    read_config,
    read_modules,
    stage,
    truncated_width,
)
from embcheck.sources.encoders.run import load_encoder, quiet, require_library
from embcheck.sources.encoders.texts import prefix_option
from embcheck.sources.files import local_path, one_line
from embcheck.sources.tokenizers.load import library_errors, offline
from embcheck.spec import ModelSpec, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

POOLINGS = ("mean", "cls", "last", "max")
_BATCH_TOKENS = 8_192
_NO_LIMIT = 2**20
_MOST_KEPT = 20_000
_SAME = 1e-3
_SORTED = 32  # texts that sentence-transformers runs at once


@dataclass(frozen=True, slots=True)
class Variant:
    """How texts become token ids; as the encoder says where nothing is set."""

    prefix: str | None = None
    """Stands before every text."""
    other_case: bool = False
    """Not lower-cased where the tokenizer does that, lower-cased where it doesn't."""
    special: bool = True
    """With the tokens that the tokenizer puts around a text."""
    longest: int | None = None
    """Tokens that are kept of a text, those put around it among them."""


@dataclass(frozen=True, slots=True)
class Padding:
    """Each text padded to a length, and where the padding is taken for tokens."""

    lengths: tuple[int, ...]
    in_attention: bool
    in_pooling: bool


class Encoder:
    """A sentence-transformers directory, or one of transformers alone, which is pooled as told (``mean``)."""

    def __init__(self, spec: str | ModelSpec, *, pooling: str = "mean") -> None:
        spec = parse(spec) if isinstance(spec, str) else spec
        if spec.scheme not in {"st", "directory"}:
            raise SpecError(f"spec {spec.text!r} is no encoder that can be run; give st:PATH")
        require_library()
        self.origin = local_path(spec, spec.target)
        is_plain = not (self.origin / "modules.json").is_file()
        modules = (Module("Transformer", self.origin),) if is_plain else read_modules(self.origin)
        if modules[0].kind != "Transformer":
            raise NotMeasurable(
                f"{self.origin} looks its vectors up in a table: no pooling and no length is to be found"
            )
        pooled = [module for module in modules if module.kind == "Pooling"]
        modes = pooling_modes(read_config(pooled[0].folder / "config.json")) if pooled else (pooling,)
        self.pooling = {"lasttoken": "last"}.get(modes[0], modes[0])
        if len(modes) != 1 or self.pooling not in POOLINGS:
            raise NotMeasurable(
                f"{self.origin} pools by {', '.join(modes)}; one of {', '.join(POOLINGS)} is known here"
            )
        self.is_normalised = any(module.kind == "Normalize" for module in modules)
        self._is_plain = is_plain
        self.width = truncated_width(self.origin)
        self.prompts = _prompts(self.origin)
        given = prefix_option(spec)
        self.prefix = default_prompt(self.origin) if given is None else given
        self._kept: dict[Any, dict[str, NDArray[np.float32]]] = {}
        self._later = [at for at, module in enumerate(modules) if at and module.kind not in {"Pooling", "Normalize"}]
        try:
            with tempfile.TemporaryDirectory(prefix="embcheck-") as folder, quiet(), offline():
                stage(modules, Path(folder))
                self._model = load_encoder(self.origin, folder, torch.device("cpu"))
        except library_errors() as error:
            raise SourceError(f"the encoder in {self.origin} can't be run: {one_line(error)}") from None
        self._tokenizer = self._model[0].tokenizer
        self._transformer = self._model[0].auto_model.float().eval()
        self._calm: Tokenizer = Tokenizer.from_str(self._tokenizer.backend_tokenizer.to_str())
        self._calm.no_padding()
        self._calm.no_truncation()
        self.is_lower_casing = self._calm.normalizer is not None and self._calm.normalizer.normalize_str("A") == "a"
        self._other = _without_lower_casing(self._calm) if self.is_lower_casing else self._calm
        positions = getattr(self._transformer.config, "max_position_embeddings", None) or _NO_LIMIT
        self.most_tokens = int(positions)
        self.longest = min(int(self._model.max_seq_length or _NO_LIMIT), self.most_tokens)

    def require_known_ways(self, texts: Sequence[str]) -> None:
        """Raise `NotMeasurable` where the library makes other vectors of these texts than these steps do."""
        if self._is_plain:
            return
        pooled = self.pooled(self.ids(texts, Variant()))[self.pooling]
        ours = self.finished(pooled, is_normalised=self.is_normalised)
        with quiet():
            theirs = self._model.encode(list(texts), prompt=self.prefix or None, show_progress_bar=False)
        if not np.allclose(ours, theirs, rtol=0, atol=_SAME * float(np.abs(ours).max())):
            raise NotMeasurable(f"{self.origin} encodes texts in a way that is not known here; it can't be diagnosed")

    def ids(self, texts: Sequence[str], variant: Variant) -> list[tuple[int, ...]]:
        """The token ids of each text."""
        tokenizer = self._other if variant.other_case else self._calm
        prefix = self.prefix if variant.prefix is None else variant.prefix
        given = [(prefix + text).strip() for text in texts]
        if variant.other_case and not self.is_lower_casing:
            given = [text.lower() for text in given]
        longest = min(self.longest if variant.longest is None else variant.longest, self.most_tokens)
        tokenizer.enable_truncation(longest)
        coded = tokenizer.encode_batch(given, add_special_tokens=variant.special)
        tokenizer.no_truncation()
        return [tuple(each.ids) for each in coded]

    def pooled(
        self, ids: Sequence[tuple[int, ...]], *, padding: Padding | None = None, dtype: str = "float32"
    ) -> dict[str, NDArray[np.float32]]:
        """For each way of pooling the (n, d) states of the last layer, made one vector a text. Nothing is run twice."""
        lengths = (0,) * len(ids) if padding is None else padding.lengths
        how = (dtype, False, False) if padding is None else (dtype, padding.in_attention, padding.in_pooling)
        keys = [(row, length, how) for row, length in zip(ids, lengths, strict=True)]
        new = [at for at, key in enumerate(keys) if key not in self._kept]
        if new:
            part = None if padding is None else replace(padding, lengths=tuple(lengths[at] for at in new))
            states = self.run([ids[at] for at in new], padding=part, dtype=dtype)
            if len(self._kept) > _MOST_KEPT:
                self._kept = {key: self._kept[key] for key in keys if key in self._kept}
            for number, at in enumerate(new):
                self._kept[keys[at]] = {name: states[name][number] for name in POOLINGS}
        return {name: np.stack([self._kept[key][name] for key in keys]) for name in POOLINGS}

    def run(
        self, ids: Sequence[tuple[int, ...]], *, padding: Padding | None = None, dtype: str = "float32"
    ) -> dict[str, NDArray[np.float32]]:
        """As `pooled`, each time anew."""
        lengths = [len(row) for row in ids] if padding is None else list(padding.lengths)
        order = sorted(range(len(ids)), key=lambda at: lengths[at])
        batches: list[list[int]] = []
        for at in order:
            fits = batches and (len(batches[-1]) + 1) * lengths[at] <= _BATCH_TOKENS
            if fits and (padding is None or lengths[batches[-1][-1]] == lengths[at]):
                batches[-1].append(at)
            else:
                batches.append([at])
        rows: dict[str, dict[int, NDArray[np.float32]]] = {name: {} for name in POOLINGS}
        model = self._transformer
        if dtype != "float32":
            model = copy.deepcopy(model).to(getattr(torch, dtype))
        try:
            for batch in batches:
                states, mask = _run(model, self._padded(ids, batch, max(lengths[at] for at in batch)), padding)
                for name in POOLINGS:
                    vectors = _pool(states, mask, name).numpy()
                    rows[name] |= dict(zip(batch, vectors, strict=True))
        except library_errors() as error:
            raise SourceError(f"the encoder in {self.origin} can't be run: {one_line(error)}") from None
        return {name: np.stack([of[at] for at in range(len(ids))]) for name, of in rows.items()}

    def finished(self, pooled: NDArray[np.float32], *, is_normalised: bool) -> NDArray[np.float64]:
        """The vectors that the layers behind the pooling make of it, of length 1 where that is asked for."""
        features = {"sentence_embedding": torch.from_numpy(pooled)}
        with torch.inference_mode(), quiet():
            for at in self._later:
                features = self._model[at](features)
        vectors = features["sentence_embedding"].numpy().astype(np.float64)
        return unit(vectors) if is_normalised else vectors

    def _padded(
        self, ids: Sequence[tuple[int, ...]], batch: Sequence[int], width: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        pad = self._tokenizer.pad_token_id or 0
        tokens = torch.tensor([[*ids[at], *[pad] * (width - len(ids[at]))] for at in batch], dtype=torch.long)
        mask = torch.tensor([[1] * len(ids[at]) + [0] * (width - len(ids[at])) for at in batch], dtype=torch.long)
        return tokens, mask


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row at length 1; what has none stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    normalised: NDArray[np.float64] = vectors / np.where(lengths > 0, lengths, 1.0)
    return normalised


def _run(
    model: Any, padded: tuple[torch.Tensor, torch.Tensor], padding: Padding | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The last layer's states, and which of them are pooled."""
    tokens, mask = padded
    everything = torch.ones_like(mask)
    attended = everything if padding is not None and padding.in_attention else mask
    with torch.inference_mode(), quiet():
        states = model(input_ids=tokens, attention_mask=attended).last_hidden_state.float()
    return states, everything if padding is not None and padding.in_pooling else mask


def _pool(states: torch.Tensor, mask: torch.Tensor, name: str) -> torch.Tensor:
    if name == "cls":
        return states[:, 0]
    if name == "last":
        return states[torch.arange(len(states)), (mask.sum(1) - 1).clamp(min=0)]
    weights = mask.unsqueeze(-1).float()
    if name == "max":
        return states.masked_fill(weights == 0, -torch.inf).amax(1)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


def padded_lengths(lengths: NDArray[np.int64], request: int, *, is_sorted: bool) -> NDArray[np.int64]:
    """The length of the longest text of each one's request or, where that is sorted by length first, of its batch."""
    padded = np.empty_like(lengths)
    for start in range(0, len(lengths), request):
        own = np.arange(start, min(start + request, len(lengths)))
        batches = [own]
        if is_sorted:
            ranked = own[np.argsort(-lengths[own], kind="stable")]
            batches = [ranked[at : at + _SORTED] for at in range(0, len(ranked), _SORTED)]
        for batch in batches:
            padded[batch] = lengths[batch].max()
    return padded


def _prompts(folder: Path) -> dict[str, str]:
    """The model's named prompts."""
    path = folder / "config_sentence_transformers.json"
    prompts = read_config(path).get("prompts") if path.is_file() else None
    named = prompts.items() if isinstance(prompts, dict) else ()
    return {str(name): prompt for name, prompt in named if isinstance(prompt, str) and prompt}


def _without_lower_casing(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer as it would be with do_lower_case off."""
    document = json.loads(tokenizer.to_str())
    waiting = [document["normalizer"]]
    while waiting:
        part = waiting.pop()
        if part.get("type") == "BertNormalizer":
            part["lowercase"] = False
        inner = [each for each in part.get("normalizers", ()) if each.get("type") != "Lowercase"]
        if "normalizers" in part:
            part["normalizers"] = inner
        waiting += inner
    if document["normalizer"].get("type") == "Lowercase":
        document["normalizer"] = None
    return Tokenizer.from_str(json.dumps(document))
