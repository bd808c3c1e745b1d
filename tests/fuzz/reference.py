"""How the formats' own libraries read a file: what a mutated one that is still read must be equal to."""

from __future__ import annotations

import base64
import json
import warnings
from argparse import Namespace
from pathlib import Path

import numpy as np

from embcheck.sources.tokenizers.surface import Notation


def _safetensors(path, table):
    from safetensors.torch import load_file

    return load_file(path)[table.provenance.tensor].double().numpy(), None


def _torch(path, table):
    import torch

    return torch.load(path, weights_only=True, map_location="cpu")[table.provenance.tensor].double().numpy(), None


def _gguf(path, table):
    from gguf import GGUFReader, dequantize

    reader = GGUFReader(path)
    (tensor,) = [tensor for tensor in reader.tensors if tensor.name == table.provenance.tensor]
    field = reader.fields["tokenizer.ggml.tokens"]
    words = [bytes(field.parts[at]).decode("utf-8", "replace") for at in field.data]
    return dequantize(tensor.data, tensor.tensor_type).astype(np.float64), words


def _npy(path, _):
    return np.load(path, allow_pickle=False).astype(np.float64), None


def _word2vec(path, *, binary, no_header=False):
    from gensim.models import KeyedVectors

    keyed = KeyedVectors.load_word2vec_format(path, binary=binary, no_header=no_header, unicode_errors="replace")
    return keyed.vectors.astype(np.float64), list(keyed.index_to_key)


def _gensim(path, _):
    from gensim.models import KeyedVectors

    keyed = KeyedVectors.load(path)
    return np.asarray(keyed.vectors, np.float64), list(keyed.index_to_key)


def _tokenizer(path, table):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    rows = range(max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1)
    return table.vectors.double().numpy(), [tokenizer.id_to_token(row) or "" for row in rows]


def _rows(table):
    return np.array(table["v"].to_pylist(), np.float64), table["t"].to_pylist()


def _parquet(path, _):
    from pyarrow import parquet

    return _rows(parquet.read_table(path))


def _arrow(path, _):
    from pyarrow import ipc

    with open(path, "rb") as file:  # noqa: PTH123 - as the library is used
        opened = ipc.open_file if file.read(6) == b"ARROW1" else ipc.open_stream
        file.seek(0)
        table = opened(file).read_all()
    table.validate(full=True)
    return _rows(table)


def _jsonl(path, _):
    from pyarrow import json

    vectors, words = _rows(json.read_json(path))
    return vectors.astype(np.float32).astype(np.float64), words


def _npz(path, _):
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["v"].astype(np.float64), [str(word) for word in arrays["t"]]


def _parts(path):
    """The tensors of an embedding by what stands behind its name, as the library reads them."""
    from safetensors.torch import load_file

    return {name.removeprefix("model.embed_tokens."): tensor for name, tensor in load_file(path).items()}


def _fp8(path, _):
    parts = _parts(path)
    scale = parts["weight_scale_inv"].float()
    return (parts["weight"].float() * scale).double().numpy(), None


def _packed(path, _):
    parts = _parts(path)
    words = parts["weight_packed"].numpy().astype(np.int64) & 0xFFFFFFFF
    height, width = parts["weight_shape"].tolist()
    numbers = np.stack([(words[:, at // 8] >> (4 * (at % 8))) & 0xF for at in range(width)], axis=1) - 8
    scale = np.repeat(parts["weight_scale"].float().numpy(), width // parts["weight_scale"].shape[1], axis=1)
    return (numbers.astype(np.float32)[:height] * scale).astype(np.float64), None


def _nf4(path, _):
    parts = _parts(path)
    state = json.loads(bytes(parts["weight.quant_state.bitsandbytes__nf4"].tolist()))
    octets = parts["weight"].numpy().reshape(-1)
    places = np.stack([octets >> 4, octets & 0xF], axis=1).reshape(-1)
    largest = parts["weight.absmax"].numpy()[np.arange(places.size) // state["blocksize"]]
    return (parts["weight.quant_map"].numpy()[places] * largest).reshape(state["shape"]).astype(np.float64), None


def _sharded_part(path, table):
    import torch
    import torch.distributed.checkpoint as dcp

    state = {table.provenance.tensor: torch.zeros(table.vectors.shape)}
    dcp.load(state, checkpoint_id=str(Path(path).parent), no_dist=True)
    return state[table.provenance.tensor].double().numpy(), None


def _checkpoint(path, table):
    import torch

    with torch.serialization.safe_globals([Namespace]):
        state = torch.load(path, weights_only=True)["state_dict"]
    return state[table.provenance.tensor.removeprefix("state_dict.")].double().numpy(), None


def _adapter(path, _):
    from safetensors.torch import load_file

    base = load_file(Path(path).parents[1] / "base" / "model.safetensors")["model.embed_tokens.weight"]
    parts = {name[-1]: tensor for name, tensor in load_file(path).items() if "embed_tokens.lora_embedding_" in name}
    if not parts:
        return base.double().numpy(), None
    return (base + (parts["B"].float() @ parts["A"].float()).T * (2 / len(parts["A"]))).double().numpy(), None


def _tiktoken(path, table):
    lines = (line.split() for line in Path(path).read_bytes().splitlines() if line)  # as the library does
    words = {int(rank): base64.b64decode(word) for word, rank in lines}
    words = {rank: Notation().read_octets(word).form for rank, word in words.items()}
    return table.vectors.double().numpy(), [words.get(row, "") for row in range(max(words) + 1)]


def _spacy(path, _):
    from pathlib import Path

    from spacy.vectors import Vectors

    vectors = Vectors().from_disk(Path(path).parent)
    names = [""] * len(vectors.data)
    for key, row in vectors.key2row.items():
        names[row] = names[row] or vectors.strings[key]
    return vectors.data.astype(np.float64), names


def _faiss(path, _):
    import faiss

    index = faiss.read_index(path)
    ids = faiss.vector_to_array(index.id_map) if hasattr(index, "id_map") else None
    flat = faiss.downcast_index(index.index) if ids is not None else index
    vectors = flat.reconstruct_n(0, flat.ntotal).astype(np.float64)
    return vectors, [f"#{row}" for row in range(len(vectors))] if ids is None else list(map(str, ids.tolist()))


def _onnx(path, table):
    import onnx

    model = onnx.load(path, load_external_data=False)
    (tensor,) = [t for t in model.graph.initializer if t.name == table.provenance.tensor]
    return onnx.numpy_helper.to_array(tensor).astype(np.float64), None


def _ctranslate2(path, table):
    """The file read from its beginning, as the library that writes it documents it."""
    import struct
    from pathlib import Path

    raw, at = Path(path).read_bytes(), 0

    def take(form):
        nonlocal at
        at += struct.calcsize(form)
        return struct.unpack_from(form, raw, at - struct.calcsize(form))

    def name():
        (text,) = take(f"<{take('<H')[0]}s")
        return text.removesuffix(b"\0").decode("utf-8", "replace")

    take("<I")
    name()
    arrays = {}
    for _ in range(take("<II")[1]):
        key, shape = name(), take(f"<{take('<B')[0]}I")
        kind, size = take("<BI")
        dtype = {0: "f4", 1: "i1", 2: "i2", 3: "i4", 4: "f2"}.get(kind, "u1")
        arrays[key] = np.frombuffer(raw[at : at + size], f"<{dtype}").reshape(shape)
        at += size
    stored = arrays[table.provenance.tensor]
    if stored.dtype.kind == "i":
        stored = stored / arrays[f"{table.provenance.tensor}_scale"].astype(np.float32).reshape(-1, 1)
    return stored.astype(np.float32).astype(np.float64), None


def _model2vec(path, _):
    from safetensors.torch import load_file

    parts = load_file(path)
    rows = parts.get("embeddings").float()
    rows = rows[parts["mapping"].long()] if "mapping" in parts else rows
    return (rows * parts["weights"].float()[:, None] if "weights" in parts else rows).double().numpy(), None


READERS = {
    "fp8": _fp8,
    "packed": _packed,
    "nf4": _nf4,
    "sharded part": _sharded_part,
    "checkpoint": _checkpoint,
    "adapter": _adapter,
    "tiktoken": _tiktoken,
    "ctranslate2": _ctranslate2,
    "model2vec": _model2vec,
    "spacy vectors": _spacy,
    "spacy key2row": _spacy,
    "spacy strings.json": _spacy,
    "faiss": _faiss,
    "faiss ids": _faiss,
    "onnx": _onnx,
    "parquet": _parquet,
    "arrow": _arrow,
    "arrow stream": _arrow,
    "feather": _arrow,
    "jsonl": _jsonl,
    "npz": _npz,
    "safetensors": _safetensors,
    "torch zip": _torch,
    "torch legacy": _torch,
    "gguf": _gguf,
    "npy": _npy,
    "word2vec binary": lambda path, _: _word2vec(path, binary=True),
    "word2vec text": lambda path, _: _word2vec(path, binary=False),
    "glove": lambda path, _: _word2vec(path, binary=False, no_header=True),
    "gensim": _gensim,
    "tokenizer.json": _tokenizer,
}


_UNIQUE = {"word2vec binary", "word2vec text", "glove", "gensim"}


def compared(kind, path, table):
    """What the format's library makes of a file beside our table: ``equal``, ``refused: why`` or ``differs: how``."""
    if kind not in READERS:
        return "no library"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            vectors, words = READERS[kind](path, table)
    except Exception as error:  # noqa: BLE001 - whatever a library says to a damaged file
        return (
            "no library" if isinstance(error, ImportError) else f"refused: {type(error).__name__}: {str(error)[:200]}"
        )
    ours, tokens = table.vectors.double().numpy(), list(table.tokens)
    if kind in _UNIQUE and len(set(tokens)) < len(tokens):  # of a repeated word, gensim leaves out all but the first
        first = sorted({word: row for row, word in reversed(list(enumerate(tokens)))}.values())
        ours, tokens = ours[first], [tokens[row] for row in first]
        vectors, words = vectors[: len(first)], words[: len(first)]
    if ours.shape != vectors.shape:
        return f"differs: {ours.shape}, and {vectors.shape} in the library"
    if not np.array_equal(ours, vectors, equal_nan=True):
        rows = np.flatnonzero(~((ours == vectors) | (np.isnan(ours) & np.isnan(vectors))).all(axis=1))
        return f"differs: row {rows[0]} of {len(rows)}: {ours[rows[0]][:4]}, and {vectors[rows[0]][:4]} in the library"
    if words is not None and tokens != words:
        return f"differs: tokens {tokens!r}, and {words!r} in the library"
    return "equal"
