"""Model specs: ``[alias=][scheme:]target[,key=value...]``. Parsing only; nothing here touches a file.

=========================================  ==========================================================================
``./model``, ``/models/x``, ``~/x``        a Hugging Face directory on disk
``org/name``, ``org/name@revision``        a directory of that name if there is one, else a model on the hub
``./m,tokenizer=DIR``                      weights without a tokenizer (``gguf:``, ``hf:`` too), and one from elsewhere
``./adapter,base=SPEC``                    a PEFT adapter with its base, where it doesn't name a directory that is there
``hf:org/name``, ``hf:org/name@revision``  a model on the hub, whatever directories there are
``name``                                   a directory of that name, or a model of the hub without owner
``hf:org/name/file.gguf``                  one file of weights on the hub; ``@revision`` follows the name or the file
``https://huggingface.co/org/name``        the address of a model's page, or of one file of it, is the ``hf:`` spec
``npy:FILE,vocab=FILE``                    a NumPy matrix and its words (txt, json or parquet), or ``vocab=none``
``gguf:FILE``                              a GGUF file: its embedding, dequantized, and the tokens it carries
``word2vec:FILE``                          word2vec vectors, binary or text
``glove:FILE``, ``fasttext:FILE``          word vectors as text
``st:PATH``                                a sentence encoder, as words it encodes or (``space=tokens``) as its tokens
``model2vec:PATH``                         a model2vec directory
``gensim:FILE``                            what gensim saved, or a fastText ``.bin`` (composed from n-grams)
``hidden:SPEC@layer=K``                    a model's hidden states on prompts, after one layer or (``layer=all``) each
``api:URL,model=NAME,words=FILE``          texts through a server that speaks OpenAI's ``/v1/embeddings``
``parquet:PATH,vectors=COLUMN``            columns of a Parquet file, or of all in a folder (``words=COLUMN``)
``arrow:PATH,vectors=COLUMN``              columns of an Arrow file or stream, or a dataset that was saved to disk
``jsonl:FILE,vectors=KEY``, ``npz:FILE``   JSON lines; arrays of a NumPy archive
``spacy:DIR``, ``faiss:FILE``              vectors of a spaCy model; a flat index of FAISS
``onnx:FILE``, ``ctranslate2:DIR``         the embedding of an exported model (``tokenizer=DIR``, ``vocab=FILE``)
``random:30522x384``                       an iid Gaussian matrix of that shape
``demo``, ``demo:lm``                      the sentence encoder that the extra installs; a language model, downloaded
=========================================  ==========================================================================

A leading ``alias=`` gives the model the short name that results are keyed by.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from embcheck.errors import SpecError

__all__ = ["ModelSpec", "parse", "parse_all", "split_revision"]

_ALIAS = re.compile(r"(?P<alias>[A-Za-z0-9][A-Za-z0-9._-]*)=(?P<rest>.+)", re.DOTALL)
_SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9_]+):(?P<rest>.*)", re.DOTALL)
_NOT_ALIAS = re.compile(r"[^A-Za-z0-9._-]+")
_WEIGHTS_FILE = re.compile(r"\.(gguf|safetensors|bin|pt|pth|ckpt)$")
_PAGE = re.compile(
    r"https?://(?:huggingface\.co|hf\.co)/(?P<repo>[^/?#@]+(?:/(?!(?:tree|blob|resolve)/)[^/?#@]+)?)"
    r"(?:/(?:tree|blob|resolve)/(?P<revision>[^/?#]+)(?P<file>/[^?#]+)?)?/?(?:[?#].*)?"
)
_COLUMNED = frozenset({"parquet", "arrow", "jsonl", "npz"})  # here words=NAME is a column
_DEMOS = frozenset({"", "lm"})
NO_VOCABULARY = ("vocab", "none")
_OPTION = re.compile(r",(?=[a-z_]+=)")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A parsed model spec: where vectors come from, and the short name that results are keyed by."""

    text: str
    """The spec as written, without its alias."""
    alias: str
    scheme: str
    """Name of the source that reads it."""
    target: str
    """What the source reads: a path, a shape, a hub id."""
    revision: str | None = None
    options: tuple[tuple[str, str], ...] = ()

    def option(self, key: str) -> str | None:
        """The value of one ``key=value`` part, ``None`` where it is absent."""
        return dict(self.options).get(key)

    @property
    def paths(self) -> tuple[tuple[str, str], ...]:
        """Those options that name files, and the paths."""
        keys = {"vocab", "prompts", "tokenizer", "base"} | (set() if self.scheme in _COLUMNED else {"words"})
        return tuple((key, value) for key, value in self.options if key in keys and (key, value) != NO_VOCABULARY)

    def having(self, **options: str | None) -> ModelSpec:
        """The spec with more options; those it has itself, and those that are ``None``, are left as they are."""
        own = dict(self.options)
        more = {key: value for key, value in options.items() if value is not None and key not in own}
        text = "".join([self.text, *(f",{key}={value}" for key, value in more.items())])
        return replace(self, text=text, options=(*self.options, *more.items()))

    def __str__(self) -> str:
        """The short name."""
        return self.alias


def parse(text: str) -> ModelSpec:
    """Parse one model spec."""
    if not text.strip() or any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise SpecError(
            f"model spec {text!r} is empty or has control characters; give a path, org/name, demo or demo:lm"
        )
    alias, body = None, text.strip()
    if match := _ALIAS.fullmatch(body):
        alias, body = match["alias"], match["rest"]
    head, *rest = _OPTION.split(body)
    head, layer = _without_layer(head)
    options = (*layer, *(_option(text, part) for part in rest))
    if len(dict(options)) != len(options):
        raise SpecError(f"model spec {text!r} gives an option twice")
    scheme, target, revision = _where(head, text)
    if scheme == "demo" and target not in _DEMOS:
        raise SpecError(
            f"model spec {text!r}: no such demo; there are demo, a sentence encoder, and demo:lm, a language model"
        )
    if not target and scheme != "demo":
        raise SpecError(f"model spec {text!r} names no file after '{scheme}:'")
    named = dict(options).get("model", scheme) if scheme == "api" else target
    default = _default_alias(scheme, named) + "".join(f"@layer{number}" for _, number in layer)
    return ModelSpec(body, alias or default, scheme, target, revision, options)


def parse_all(texts: tuple[str, ...] | list[str]) -> tuple[ModelSpec, ...]:
    """Parse several specs, whose aliases must differ."""
    specs = tuple(parse(text) for text in texts)
    seen: dict[str, str] = {}
    for spec in specs:
        if spec.alias in seen:
            raise SpecError(
                f"two models are called {spec.alias!r} ({seen[spec.alias]} and {spec.text}); "
                f"name one of them, such as other={spec.text}"
            )
        seen[spec.alias] = spec.text
    return specs


def split_revision(name: str) -> tuple[str, str | None]:
    """A name on the hub without its ``@revision``, and the revision; ``org/name@rev/file`` is ``org/name/file@rev``."""
    repo, _, revision = name.partition("@")
    if _WEIGHTS_FILE.search(revision) and "/" in revision:
        revision, _, file = revision.partition("/")
        repo = f"{repo}/{file}"
    return (repo, revision) if revision else (name, None)


def _without_layer(head: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """``hidden:SPEC@layer=K`` is the option ``layer=K`` of ``hidden:SPEC``."""
    before, mark, layer = head.rpartition("@layer=")
    return (before, (("layer", layer),)) if mark and head.startswith("hidden:") else (head, ())


def _where(head: str, text: str) -> tuple[str, str, str | None]:
    if head == "demo":
        return "demo", "", None
    if head.startswith(("https://", "http://")):
        return "hf", *_on_page(head, text)
    if match := _SCHEME.fullmatch(head):
        target, revision = split_revision(match["rest"]) if match["scheme"] == "hf" else (match["rest"], None)
        return match["scheme"], target, revision
    if head.startswith((".", "/", "~")) or head.count("/") != 1:
        return "directory", head, None
    return "directory", *split_revision(head)


def _on_page(address: str, text: str) -> tuple[str, str | None]:
    """What the address of a page on the hub is about: the model or one file of it, and the revision."""
    match = _PAGE.fullmatch(address)
    if match is None:
        raise SpecError(
            f"model spec {text!r} is no address of a model on the hub, such as https://huggingface.co/org/name; "
            "get what is elsewhere, and give its path"
        )
    return match["repo"] + (match["file"] or ""), match["revision"]


def _option(text: str, part: str) -> tuple[str, str]:
    key, _, value = part.partition("=")
    if not value:
        raise SpecError(f"model spec {text!r}: option {key!r} has no value")
    return key, value


def _default_alias(scheme: str, target: str) -> str:
    if scheme == "demo":
        return f"demo-{target}" if target else "demo"
    if scheme == "random":
        return f"random-{target}"
    name = target.rstrip("/").rsplit("/", 1)[-1]
    return _NOT_ALIAS.sub("-", name).strip("-.") or scheme
