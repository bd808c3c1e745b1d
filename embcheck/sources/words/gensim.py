"""Word vectors that gensim saved (``.kv``, ``.model``), or a fastText model (``.bin``); gensim itself is not needed.

gensim's files are pickles, which can run code when gensim reads them. Here they are read as data (no class is looked
up), and the arrays that gensim keeps beside them are taken by the names that gensim gives, never by one in the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from embcheck.errors import SourceError
from embcheck.sources.assemble import assemble
from embcheck.sources.files.access import LocalBytes
from embcheck.sources.files.looking import local_file, one_line, read_head, refuse_disguise, refuse_unknown_options
from embcheck.sources.weights.pickled_objects import Made, as_array, read_objects
from embcheck.sources.words.fasttext_model import LONGEST_GRAM, MAGIC, Grams, compose, read_fasttext, read_header
from embcheck.sources.words.npy import _open as open_matrix
from embcheck.table.vocabulary import WordVocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

__all__ = ["describe", "read"]

_PICKLE = b"\x80"
_COMPOSED = "composed: each vector is the mean of a word's own and those of its n-grams"
_WORDS = ("index_to_key", "index2word", "index2entity")
_VECTORS = ("vectors", "syn0")


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read word vectors; those of fastText models are composed, and the table's notes say so."""
    path = _path(spec)
    if _is_fasttext(path):
        words, matrix = read_fasttext(path)
        composed = True
    else:
        words, matrix, composed = _read_vectors(path)
    return assemble(
        spec,
        torch.from_numpy(matrix),
        WordVocabulary(words),
        bytes_read=path.stat().st_size,
        notes=(_COMPOSED,) if composed else (),
    )


def describe(spec: ModelSpec) -> dict[str, object]:
    """What `read` would read. A gensim file has no header: its pickle is read, but no array beside it."""
    path = _path(spec)
    beside: list[Path] = []
    if _is_fasttext(path):
        header = read_header(path, LocalBytes(path))
        rows, width = header.words, header.width
    else:
        attributes, stem = _keyed_vectors(path)
        name = next((n for n in (*_VECTORS, "vectors_vocab") if _has(attributes, n)), "vectors")
        rows, width = _array(path, attributes, stem, name).shape
        beside = [file for file in [_beside(stem, name)] if file.is_file()]
    files = [path, *beside]
    return {
        "tensor": None,
        "shape": (rows, width),
        "dtype": "float32",
        "bytes": rows * width * 4,
        "bytes_total": sum(file.stat().st_size for file in files),
        "files": [file.name for file in files],
    }


def _path(spec: ModelSpec) -> Path:
    refuse_unknown_options(spec)
    path = local_file(spec, spec.target)
    refuse_disguise(path)
    return path


def _is_fasttext(path: Path) -> bool:
    """Whether it is a fastText model rather than a pickle of gensim's; refuses what is neither."""
    head = read_head(path)
    if head.startswith(MAGIC):
        return True
    if not head.startswith(_PICKLE):
        raise SourceError(
            f"{path} is neither a file that gensim saved nor a fastText model; "
            "read word vectors as word2vec:FILE, fasttext:FILE or glove:FILE"
        )
    return False


def _read_vectors(path: Path) -> tuple[list[str], NDArray[Any], bool]:
    """Words, their vectors, and whether these were composed."""
    attributes, stem = _keyed_vectors(path)
    words = _words(path, attributes)
    name = next((n for n in _VECTORS if _has(attributes, n)), None)
    if name is not None:
        matrix, composed = _array(path, attributes, stem, name), "vectors_ngrams" in attributes
    elif _has(attributes, "vectors_vocab"):  # gensim leaves out what it can compose again
        matrix, composed = _composed(path, attributes, stem, words), True
    else:
        raise SourceError(f"{path} holds no vectors; save them with save_word2vec_format and give word2vec:FILE")
    if len(words) > len(matrix):
        raise SourceError(f"{path} has {len(words)} words but {len(matrix)} vectors; get the file again")
    return words, matrix, composed


def _keyed_vectors(path: Path) -> tuple[dict[str, Any], str]:
    """Attributes of the word vectors, a model's own or the file's, and what names of arrays beside it begin with."""
    root = read_objects(path)
    if isinstance(root, Made) and isinstance(inner := root.attributes.get("wv"), Made):
        return inner.attributes, f"{path}.wv"
    if isinstance(root, Made) and any(key in root.attributes for key in _WORDS):
        return root.attributes, str(path)
    kind = root.name if isinstance(root, Made) else type(root).__name__
    raise SourceError(f"{path} holds {one_line(kind)}, no word vectors; save a model's .wv and give that file")


def _words(path: Path, attributes: dict[str, Any]) -> list[str]:
    words = next((attributes[key] for key in _WORDS if isinstance(attributes.get(key), list)), None)
    if not words:
        raise SourceError(f"{path} has no list of its words; save them with save_word2vec_format, give word2vec:FILE")
    return [word if isinstance(word, str) else one_line(word) for word in words]


def _has(attributes: dict[str, Any], name: str) -> bool:
    """Whether an array is there, in the pickle or beside it."""
    apart = attributes.get("__numpys")
    return attributes.get(name) is not None or (isinstance(apart, list) and name in apart)


def _array(path: Path, attributes: dict[str, Any], stem: str, name: str) -> NDArray[Any]:
    """One matrix of the vectors, out of the pickle or from the file beside it."""
    if attributes.get(name) is not None:
        return as_array(attributes[name], str(path))
    beside = _beside(stem, name)
    if not beside.is_file():
        raise SourceError(f"{path} keeps its vectors in {beside.name}, which is not beside it; get that file too")
    return open_matrix(beside)


def _beside(stem: str, name: str) -> Path:
    return Path(f"{stem}.{name}.npy")


def _composed(path: Path, attributes: dict[str, Any], stem: str, words: list[str]) -> NDArray[Any]:
    """Vectors of a fastText model that gensim trained."""
    numbers = [attributes.get(key) for key in ("min_n", "max_n", "bucket")]
    own = _array(path, attributes, stem, "vectors_vocab")
    shortest, longest, buckets = (n if type(n) is int else -1 for n in numbers)
    known = shortest > 0 and longest <= LONGEST_GRAM and buckets >= 0
    if not known or attributes.get("compatible_hash") is not True:
        raise SourceError(f"{path} has n-grams of another kind than fastText's; save it anew with a newer gensim")
    pieces = _array(path, attributes, stem, "vectors_ngrams") if buckets else own[:0]
    if len(pieces) < buckets or pieces.shape[1] != own.shape[1] or len(words) > len(own):
        raise SourceError(
            f"{path} has {len(words)} words and {buckets} buckets but matrices {own.shape} and {pieces.shape}; "
            "get the file again"
        )
    return compose(words, own, pieces, Grams(shortest, longest, buckets))
