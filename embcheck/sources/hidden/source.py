"""Hidden states: prompts through a whole model, one table a layer. ``hidden:SPEC@layer=K``, or ``@layer=all``.

``SPEC`` is a Hugging Face directory, ``demo``, or a model on the hub. Layer 0 is what enters the first block, layer K
what leaves the K-th, as transformers counts ``hidden_states`` (some models normalize the last one). Options:

``states=every`` (the default)
    Every token of every prompt is a row, but for those that the tokenizer adds around a text.
``states=words``
    Every word of every prompt is a row: the state after the word's last token.
``states=last``
    Every prompt is a row: the state after its last token. With single words as prompts (``prompts=words.txt``) words
    resolve to rows, and the properties of word lists run.
``prompts=FILE``
    A prompt a line; by default 100 sentences that come with embcheck.

Prompts go through the model in batches of equal length, so that nothing is padded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from embcheck import files
from embcheck.errors import SourceError, SpecError
from embcheck.sources import resolve_device
from embcheck.sources.assemble import Description, assemble
from embcheck.sources.files import local_file, local_path, one_line, refuse_unknown_options
from embcheck.sources.hidden import model
from embcheck.sources.tokenizers.vocabulary import RustErrors, TokenizerVocabulary
from embcheck.spec import parse
from embcheck.table.vocabulary import WordVocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch
    from tokenizers import Encoding, Tokenizer

    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

_OWN = Path(__file__).with_name("prompts.txt")
_MOST_BYTES = 16 * 2**20
KINDS = ("every", "words", "last")
_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")
_KEEP = "keep"
"""Option of specs that follow each other, never written out: the layers that one run of the model is to give, 0+1+2."""


@dataclass(frozen=True, slots=True)
class _Request:
    folder: Path
    layers: int
    layer: int
    kept: tuple[int, ...]
    states: str
    prompts: tuple[str, ...]
    named: str


def check(spec: ModelSpec) -> None:
    """Check the spec, and that what it names is there, without reading it."""
    from embcheck import sources

    refuse_unknown_options(spec, "layer", "states", "prompts", _KEEP)
    layer, states = spec.option("layer") or "", spec.option("states") or KINDS[0]
    if layer != "all" and not (layer.isascii() and layer.isdigit()):
        raise SpecError(f"spec {spec.text!r}: say which layer: hidden:{spec.target}@layer=0, or @layer=all")
    if states not in KINDS:
        raise SpecError(f"spec {spec.text!r}: unknown states {states!r}; choose one of {', '.join(KINDS)}")
    inner = parse(spec.target)
    scheme = sources.route(inner).scheme
    if inner.options or scheme not in {"directory", "demo", "hf"} or (scheme == "demo" and inner.target):
        raise SpecError(f"spec {spec.text!r}: {spec.target} is no whole model; give a directory, org/name or demo")
    sources.check(inner)
    if (given := spec.option("prompts")) is not None:
        local_path(spec, given)


def expand(spec: ModelSpec) -> tuple[ModelSpec, ...]:
    """One spec a layer for ``@layer=all``, called ``NAME@layerK``; else the spec itself."""
    check(spec)
    if spec.option("layer") != "all":
        return (spec,)
    layers = model.layers(_folder(spec))
    alias = spec.alias.removesuffix("@layerall")
    return tuple(_of_layer(spec, layer, layers, alias) for layer in range(layers + 1))


def announce(spec: ModelSpec) -> str:
    """What a user should know before the model is read: that all of it is, and how large it is."""
    size = model.size(_folder(spec))
    return f"hidden:{spec.target} runs the whole model: {size / 1e6:,.0f} MB of weights are read"


def read(spec: ModelSpec) -> EmbeddingTable:
    """As `read_on`, on the best device there is."""
    return read_on(spec, resolve_device("auto"))


def read_on(spec: ModelSpec, device: torch.device) -> EmbeddingTable:
    """Run the prompts through the model on a device, and keep the states after one layer."""
    import torch

    asked = _request(spec)
    tokenizer = model.tokenizer(asked.folder)
    rows = read_rows(tokenizer, asked.prompts, asked.states)
    states = model.states(asked.folder, rows.encoded, device, asked.kept)[asked.layer]
    matrix = torch.stack([states[prompt][at] for prompt, at in rows.positions])
    size = model.size(asked.folder)
    note = (
        f"hidden states after layer {asked.layer} of {asked.layers} (states={asked.states}) of {asked.named}, "
        f"for which the whole model was run: {size / 1e6:,.0f} MB of weights"
    )
    return assemble(spec, matrix, rows.vocabulary, bytes_read=size, notes=(note,))


def describe(spec: ModelSpec) -> Description:
    """What `read` would read and run, without running the model."""
    asked = _request(spec)
    rows = read_rows(model.tokenizer(asked.folder), asked.prompts, asked.states)
    size = model.size(asked.folder)
    return Description(
        shape=(len(rows.positions), model.width(asked.folder)),
        dtype=model.dtype(asked.folder),
        bytes=size,
        bytes_total=size,
        space=f"hidden states after layer {asked.layer} of {asked.layers} (states={asked.states})",
        population=asked.named,
    )


def _request(spec: ModelSpec) -> _Request:
    check(spec)
    if spec.option("layer") == "all":
        raise SpecError(f"spec {spec.text!r}: all layers are many tables; here give one, such as @layer=0")
    folder = _folder(spec)
    layer, layers = int(spec.option("layer") or 0), model.layers(folder)
    if layer > layers:
        raise SpecError(f"spec {spec.text!r}: the model has {layers} layers, so that layer is one of 0 to {layers}")
    prompts, named = _prompts(spec)
    others = (int(number) for number in (spec.option(_KEEP) or "").split("+") if number.isdecimal())
    kept = tuple(sorted({layer, *(other for other in others if other <= layers)}))
    return _Request(folder, layers, layer, kept, spec.option("states") or KINDS[0], prompts, named)


def _prompts(spec: ModelSpec) -> tuple[tuple[str, ...], str]:
    given = spec.option("prompts")
    path = _OWN if given is None else local_file(spec, given)
    try:
        lines = files.read(path, most=_MOST_BYTES).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"cannot read the prompts in {path}: {one_line(error)}") from None
    prompts = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if len(prompts) < 2:
        raise SourceError(f"{path} has {len(prompts)} different prompts; at least 2 are needed, one a line")
    return prompts, f"{len(prompts)} prompts of {'embcheck' if given is None else given}"


def _folder(spec: ModelSpec) -> Path:
    from embcheck import sources
    from embcheck.sources.demo import demo_folder

    inner = sources.route(parse(spec.target))
    if inner.scheme == "hf":
        return model.from_hub(inner)
    path = demo_folder() if inner.scheme == "demo" else local_path(spec, inner.target)
    if not path.is_dir():
        raise SourceError(f"spec {spec.text!r}: {inner.target} is a file; give the model's directory")
    return path


def _of_layer(spec: ModelSpec, layer: int, layers: int, alias: str) -> ModelSpec:
    options = tuple((key, str(layer) if key == "layer" else value) for key, value in spec.options)
    options = (*options, (_KEEP, "+".join(map(str, range(layers + 1)))))
    text = spec.text.replace("@layer=all", f"@layer={layer}", 1)
    return replace(spec, text=text, alias=f"{alias}@layer{layer}", options=options)


class ContextVocabulary(WordVocabulary):
    """Rows that are words in their contexts: one word has many rows, so none is the word's own."""

    in_contexts = True

    def encode(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """Nothing: properties of word lists are skipped."""
        return [() for _ in words]


@dataclass(frozen=True, slots=True)
class Rows:
    """Prompts as ids, and by row: which prompt, and which position in it."""

    encoded: tuple[tuple[int, ...], ...]
    positions: tuple[tuple[int, int], ...]
    vocabulary: WordVocabulary


def read_rows(tokenizer: Tokenizer, prompts: Sequence[str], states: str) -> Rows:
    """Encode prompts as the model expects them, and find the positions that ``states`` asks for."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    try:
        with RustErrors("the tokenizer"):
            encodings = tokenizer.encode_batch(list(prompts))
    except ValueError as error:
        raise SourceError(f"the prompts can't be encoded: {one_line(error)}") from None
    surfaces = _surfaces(tokenizer) if states == "every" else []
    positions, names = [], []
    for at, (prompt, encoding) in enumerate(zip(prompts, encodings, strict=True)):
        own = [i for i, special in enumerate(encoding.special_tokens_mask) if not special]
        if not own:
            raise SourceError(f"the prompt {prompt!r} has no token of its own; leave it out")
        if states == "every":
            marked = [(i, surfaces[encoding.ids[i]]) for i in own]
        else:
            marked = [(own[-1], prompt)] if states == "last" else list(_words(prompt, encoding, own))
        positions += [(at, i) for i, _ in marked]
        names += [name for _, name in marked]
    vocabulary = (
        WordVocabulary(names, special=(), may_repeat=True)
        if states == "last"
        else ContextVocabulary(names, special=(), may_repeat=True)
    )
    return Rows(tuple(tuple(encoding.ids) for encoding in encodings), tuple(positions), vocabulary)


def _words(prompt: str, encoding: Encoding, own: Sequence[int]) -> Iterator[tuple[int, str]]:
    """The last token of each word, and the word."""
    for word in _WORD.finditer(prompt):
        inside = [i for i in own if encoding.offsets[i][0] < word.end() and encoding.offsets[i][1] > word.start()]
        if inside:
            yield inside[-1], word.group()


def _surfaces(tokenizer: Tokenizer) -> Sequence[str]:
    return TokenizerVocabulary(tokenizer, rows=tokenizer.get_vocab_size(with_added_tokens=True)).tokens
