"""A table of a model in memory: the weights of its input embedding, not copied, and its tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from embcheck.errors import SourceError, UsageError
from embcheck.sources.models.live_weight import bare, weight_of
from embcheck.sources.naming.layers import NamedLayers
from embcheck.sources.tokenizers.vocabulary import RustErrors, TokenizerVocabulary
from embcheck.table import EmbeddingTable, Provenance
from embcheck.table.table import dtype_name
from embcheck.table.vocabulary import WordVocabulary

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import Tensor, nn

    from embcheck.table.vocabulary import Vocabulary

__all__ = ["from_module"]


def from_module(
    model: nn.Module, tokenizer: Any, *, vocabularies: dict[int, Vocabulary] | None = None, hashed: bool = True
) -> EmbeddingTable:
    """Make a table of a live model. The vectors share the model's memory, so they change as it is trained.

    The tokenizer, which is not changed, may be a list of words, one a row. ``vocabularies`` holds what was read of it
    before, by the number of rows, and takes what is read now. Hashing (``hashed``) reads all weights to the host.
    """
    tokens = _words_or_tokenizer(tokenizer)
    weight, notes = weight_of(model, len(tokens) if isinstance(tokens, list) else tokens.get_vocab_size())
    known = {} if vocabularies is None else vocabularies
    vocabulary = known.get(len(weight)) or _vocabulary(tokens, rows=len(weight))
    known[len(weight)] = vocabulary
    origin = Provenance(
        spec="memory",
        source="module",
        shape=(weight.shape[0], weight.shape[1]),
        dtype=dtype_name(weight),
        weights=weight if hashed else None,
        notes=(*notes, *(vocabulary.notes if isinstance(vocabulary, TokenizerVocabulary) else ())),
    )
    inside = bare(model)
    layers = NamedLayers(_Parameters(inside), _config(inside), embedding=_name(inside, weight))
    return EmbeddingTable(weight, vocabulary, origin, layers=layers)


class _Parameters:
    """Those of a model in memory, as they are when they are asked for."""

    bytes_read = 0

    def __init__(self, model: nn.Module) -> None:
        self.origin = type(model).__name__
        self._model = model

    @property
    def names(self) -> Collection[str]:
        """All of them."""
        return self._all().keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Rows first."""
        return tuple(self._all()[name].shape)

    def refusal(self, name: str) -> str | None:
        """That it is quantized or not in memory, if it is so."""
        parameter = self._all()[name]
        if parameter.is_meta:
            return f"{self.origin}: {name} is on the meta device; load it first"
        if hasattr(parameter, "full_tensor"):
            return f"{self.origin}: {name} is sharded, and only the embedding is gathered; check a saved checkpoint"
        if not parameter.is_floating_point() or parameter.element_size() < 2:
            return f"{self.origin}: {name} is quantized ({dtype_name(parameter)}); give the model in floats"
        return None

    def read(self, name: str) -> Tensor:
        """Not copied."""
        return self._all()[name].detach()

    def _all(self) -> dict[str, nn.Parameter]:
        return dict(self._model.named_parameters(remove_duplicate=False))


def _config(model: nn.Module) -> dict[str, Any]:
    """What the model's config says, empty where it has none."""
    config: Any = getattr(model, "config", None)
    found = config.to_dict() if hasattr(config, "to_dict") else config
    return found if isinstance(found, dict) else {}


def _name(model: nn.Module, weight: Tensor) -> str:
    named = model.named_parameters(remove_duplicate=False)
    whole = ((name, one) for name, one in named if not hasattr(one, "full_tensor"))
    return next((name for name, one in whole if one.data_ptr() == weight.data_ptr()), "")


def _words_or_tokenizer(tokenizer: Any) -> list[str] | Tokenizer:
    if isinstance(tokenizer, list | tuple) and all(isinstance(word, str) for word in tokenizer):
        return list(tokenizer)
    backend = tokenizer if isinstance(tokenizer, Tokenizer) else getattr(tokenizer, "backend_tokenizer", None)
    if isinstance(backend, Tokenizer):
        return backend
    raise UsageError(
        f"tokenizer is a {type(tokenizer).__name__}; give a tokenizers.Tokenizer, a fast tokenizer of transformers "
        "or a list of words"
    )


def _vocabulary(tokens: list[str] | Tokenizer, *, rows: int) -> WordVocabulary | TokenizerVocabulary:
    if isinstance(tokens, list):
        if len(tokens) > rows:
            raise UsageError(
                f"there are {len(tokens)} words but the embedding has only {rows} rows; give one word a row"
            )
        return WordVocabulary(tokens)
    try:
        with RustErrors("the tokenizer"):  # a copy, since padding is switched off in it
            return TokenizerVocabulary(Tokenizer.from_str(tokens.to_str()), rows=rows)
    except SourceError as error:
        raise UsageError(str(error)) from None
