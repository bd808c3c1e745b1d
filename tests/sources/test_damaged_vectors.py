"""Large files of other programs, damaged: a table or one line, and no more memory than twice the file."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from written import ct2_model, faiss_flat, onnx_embedding, write_spacy

from embcheck import sources
from embcheck.errors import EmbcheckError
from embcheck.spec import parse

ROWS, WIDTH = 4_000, 250
MUTATIONS = 20
NUMBERS = [0, 1, 0x7F, 0xFF, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1]


def write(kind, folder):
    """A file of four megabytes, and the spec that reads it."""
    vectors = np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(np.float32)
    path = folder / "file"
    if kind == "spacy":
        path = write_spacy(folder / "v", vectors, {f"word{row}": row for row in range(ROWS)}) / "vectors"
        return path, f"spacy:{folder / 'v'}"
    content = {
        "faiss": lambda: faiss_flat(vectors),
        "onnx": lambda: onnx_embedding(vectors),
        "ctranslate2": lambda: ct2_model({"decoder/embeddings/weight": vectors}),
    }[kind]()
    path.write_bytes(content)
    return path, f"{kind}:{path},vocab=none"


def mutated(content, rng):
    """The bytes with a number put into the header or the end, or with a piece left out."""
    data = bytearray(content)
    size = int(rng.choice([1, 2, 4, 8]))
    at = int(rng.integers(0, 100)) if rng.random() < 0.8 else int(rng.integers(len(data) - 600, len(data) - 8))
    if rng.random() < 0.2:
        del data[at : at + int(rng.integers(1, 2**20))]
    else:
        value = NUMBERS[int(rng.integers(0, len(NUMBERS)))] & (256**size - 1)
        data[at : at + size] = struct.pack("<Q", value)[:size]
    return bytes(data)


@pytest.mark.parametrize("kind", ["spacy", "faiss", "onnx", "ctranslate2"])
def test_damaged_files_take_no_more_than_twice_their_size(kind, tmp_path):
    """Twenty damaged files of each kind are read or refused in one line, in little memory."""
    path, text = write(kind, tmp_path)
    content, rng = path.read_bytes(), np.random.default_rng(3)
    spec = parse(text)
    whole = sources.load(spec, device="cpu").vectors.shape
    refusals = []
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(content, rng))
        tracemalloc.start()
        try:
            assert sources.load(spec, device="cpu").vectors.shape == whole
        except EmbcheckError as error:
            refusals.append(str(error))
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 2 * len(content) + 2**20
    assert refusals
    assert all(map(str.isprintable, refusals))
