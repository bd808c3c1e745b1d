"""Files of other programs' formats, written by hand, so that their readers are tested where no such program is."""

from __future__ import annotations

import json
import struct

import msgspec
import numpy as np

FLOATS = {"float32": 1, "float16": 10, "float64": 11, "uint8": 2, "int8": 3}


# --- spaCy ------------------------------------------------------------------------------------------------------------


def hash_word(word):
    """MurmurHash64A of seed 1, a block of eight bytes at a time."""
    raw, mask, multiplier = word.encode(), 2**64 - 1, 0xC6A4A7935BD1E995
    value = 1 ^ (len(raw) * multiplier & mask)
    for at in range(0, len(raw), 8):
        block = int.from_bytes(raw[at : at + 8], "little")
        if len(raw) - at >= 8:
            block = block * multiplier & mask
            block = (block ^ block >> 47) * multiplier & mask
        value = (value ^ block) * multiplier & mask
    value = (value ^ value >> 47) * multiplier & mask
    return value ^ value >> 47


def write_spacy(folder, vectors, rows, *, mode="default"):
    """A vectors folder: ``rows`` says for each word which row is its."""
    folder.mkdir(exist_ok=True)
    with (folder / "vectors").open("wb") as file:
        np.save(file, vectors)
    (folder / "key2row").write_bytes(msgspec.msgpack.encode({hash_word(word): row for word, row in rows.items()}))
    (folder / "strings.json").write_text(json.dumps(sorted([*rows, "a string that is no word"])), encoding="utf-8")
    (folder / "vectors.cfg").write_text(json.dumps({"mode": mode}))
    return folder


# --- FAISS ------------------------------------------------------------------------------------------------------------


def faiss_header(kind, vectors, metric=1):
    rows, width = vectors.shape
    return kind + struct.pack("<iqqq?i", width, rows, 2**20, 2**20, True, metric)  # noqa: FBT003 - it is trained


def faiss_flat(vectors, *, ids=None):
    """An IndexFlatL2, in an IndexIDMap where there are ids."""
    flat = faiss_header(b"IxF2", vectors) + struct.pack("<Q", vectors.size) + vectors.tobytes()
    if ids is None:
        return flat
    return faiss_header(b"IxMp", vectors) + flat + struct.pack("<Q", len(ids)) + np.array(ids, "<i8").tobytes()


# --- ONNX -------------------------------------------------------------------------------------------------------------


def varint(value):
    raw = b""
    while value > 127:
        raw, value = raw + bytes([value & 127 | 128]), value >> 7
    return raw + bytes([value])


def message(*fields):
    """A message of protocol buffers: whole numbers, texts and bytes, by their numbers."""
    raw = b""
    for number, value in fields:
        if isinstance(value, int):
            raw += varint(number << 3) + varint(value)
        else:
            content = value.encode() if isinstance(value, str) else value
            raw += varint(number << 3 | 2) + varint(len(content)) + content
    return raw


def onnx_tensor(name, array, *, external=None):
    dims = [(1, side) for side in array.shape]
    if external is None:
        where = [(9, array.tobytes())]
    else:
        where = [(13, message((1, key), (2, value))) for key, value in external.items()] + [(14, 1)]
    return message(*dims, (2, FLOATS[array.dtype.name]), (8, name), *where)


def onnx_node(kind, inputs, outputs, *attributes):
    return message(*((1, name) for name in inputs), *((2, name) for name in outputs), (4, kind), *attributes)


def onnx_model(nodes, tensors, inputs=("input_ids",)):
    """A model of such nodes and initializers."""
    graph = message(
        *((1, node) for node in nodes),
        (2, "main"),
        *((5, t) for t in tensors),
        *((11, message((1, n))) for n in inputs),
    )
    return message((1, 8), (7, graph), (8, message((2, 17))))


def onnx_embedding(vectors, **options):
    """A model that looks up token ids, and something else."""
    nodes = [
        onnx_node("Cast", ["input_ids"], ["ids"]),
        onnx_node("Gather", ["onnx::Gather_7", "ids"], ["rows"]),
        onnx_node("Gather", ["position_embeddings", "positions"], ["places"]),
        onnx_node("Add", ["rows", "places"], ["sum"]),
    ]
    other = np.zeros((len(vectors), vectors.shape[1]), np.float32)
    tensors = [onnx_tensor("position_embeddings", other), onnx_tensor("onnx::Gather_7", vectors, **options)]
    return onnx_model(nodes, tensors)


# --- CTranslate2 ------------------------------------------------------------------------------------------------------

CT2_TYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def ct2_text(text):
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def ct2_model(variables, aliases=(), version=6):
    """A model.bin of these variables, a name and an array each."""
    raw = struct.pack("<I", version) + ct2_text("TransformerSpec") + struct.pack("<II", 7, len(variables))
    for name, array in variables.items():
        raw += ct2_text(name) + struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        raw += struct.pack("<BI", CT2_TYPES[array.dtype.name], array.nbytes) + array.tobytes()
    return raw + struct.pack("<I", len(aliases)) + b"".join(ct2_text(a) + ct2_text(b) for a, b in aliases)


def write_ct2(folder, words, variables, **options):
    folder.mkdir(exist_ok=True)
    (folder / "model.bin").write_bytes(ct2_model(variables, **options))
    (folder / "vocabulary.json").write_text(json.dumps(list(words)))
    return folder
