"""A served encoder: ``api:URL,model=NAME,words=FILE``, texts through OpenAI's ``POST /v1/embeddings``.

``URL`` may be the server's (``http://127.0.0.1:8000``), its API's (``.../v1``) or the endpoint's own
(``.../v1/embeddings``). Each text of the list (``words=FILE`` as of ``st:``, else every word of embcheck's lexicons) is
sent, behind ``prefix=TEXT`` if one is given, and is one row. ``batch=N`` texts go at once, 64 unless given, for each of
which the server has ``timeout=SECONDS``, 120 unless given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from embcheck.sources.assemble import Description, assemble
from embcheck.sources.encoders.endpoint import Endpoint, endpoint
from embcheck.sources.encoders.texts import prefix_option, read_texts
from embcheck.sources.files import printable, refuse_unknown_options
from embcheck.table.vocabulary import WordVocabulary

if TYPE_CHECKING:
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable


def read(spec: ModelSpec) -> EmbeddingTable:
    """Send a list of texts, and make a table of what comes back."""
    server, texts, population, prefix = _open(spec)
    vectors = server.embed([prefix + text for text in texts])
    notes = [_space(server, prefix), f"population: {population}"]
    if vectors.model not in {None, server.model}:
        notes.append(f"the server calls its model {printable(str(vectors.model))}")
    matrix = torch.from_numpy(vectors.matrix)
    return assemble(spec, matrix, WordVocabulary(texts, special=()), bytes_read=vectors.bytes, notes=tuple(notes))


def describe(spec: ModelSpec) -> Description:
    """What `read` would ask for; the server is not asked, which alone knows how long its vectors are."""
    server, texts, population, prefix = _open(spec)
    return Description(
        shape=(len(texts), None),
        dtype="float32",
        bytes=None,
        bytes_total=None,
        space=_space(server, prefix).removeprefix("space: "),
        population=population,
    )


def _open(spec: ModelSpec) -> tuple[Endpoint, list[str], str, str]:
    refuse_unknown_options(spec, "model", "words", "column", "prefix", "batch", "timeout")
    server = endpoint(spec)
    texts, population = read_texts(spec)
    return server, texts, population, prefix_option(spec) or ""


def _space(server: Endpoint, prefix: str) -> str:
    return f"space: encoded (prefix {prefix!r}; by {printable(server.model)} at {server.host})"
