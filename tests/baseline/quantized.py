"""The demo model as GGUF files: what a conversion and a quantization of it would hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import gguf
import numpy as np
from checkpoints import FOLDER, first_layer
from gguf import GGMLQuantizationType as Kind

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

START = "\N{LOWER ONE EIGHTH BLOCK}"
KINDS = {"gguf_q8_0": Kind.Q8_0, "gguf_q5_0": Kind.Q5_0, "gguf_q4_k": Kind.Q4_K}
WIDTH = 384
LAYER = {"intermediate.dense": "ffn_up", "output.dense": "ffn_down", "attention.self.value": "attn_v"}
SUPER, SUB = 256, 32  # values of a Q4_K block, and of each of its eight parts


def q4_k(rows: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Q4_K blocks of rows whose length 256 divides; the gguf package can only read them.

    A part's 32 values are ``d * scale * q - dmin * least`` with q from 0 to 15, scale and least from 0 to 63, d and
    dmin float16 and shared by the eight parts.
    """
    parts = rows.reshape(-1, SUPER // SUB, SUB).astype(np.float64)
    least = np.maximum(-parts.min(2), 0)
    steps = (parts.max(2) + least) / 15
    d, dmin = (np.float16(v.max(1, keepdims=True) / 63) for v in (steps, least))
    scale, offset = (np.rint(v / np.maximum(unit, 1e-8)).clip(0, 63) for v, unit in ((steps, d), (least, dmin)))
    size, shift = (unit.astype(np.float64) * v for unit, v in ((d, scale), (dmin, offset)))
    q = np.rint((parts + shift[..., None]) / np.maximum(size, 1e-12)[..., None]).clip(0, 15).astype(np.uint8)
    low, high = (v.astype(np.uint8) for v in (scale, offset))
    packed = [
        low[:, :4] | (low[:, 4:] >> 4 << 6),
        high[:, :4] | (high[:, 4:] >> 4 << 6),
        (low[:, 4:] & 15) | (high[:, 4:] << 4),
    ]
    halves = (q[:, ::2] | (q[:, 1::2] << 4)).reshape(len(q), -1)
    blocks = np.concatenate([d.view(np.uint8), dmin.view(np.uint8), *packed, halves], axis=1)
    return blocks.reshape(len(rows), -1)


def write(vectors: NDArray[np.float32], kind: Kind, path: Path) -> Path:
    """The demo model's tokens, as conversions of BERT spell them, with vectors of one type."""
    vocab = json.loads((FOLDER / "tokenizer.json").read_text())["model"]["vocab"]
    tokens = sorted(vocab, key=vocab.__getitem__)
    names = [_spelled(token) for token in tokens]
    control = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_tokenizer_model("bert")
    writer.add_token_list(names)
    writer.add_token_types([gguf.TokenType.CONTROL if token in control else gguf.TokenType.NORMAL for token in tokens])
    writer.add_unk_token_id(vocab["[UNK]"])
    stored = q4_k(vectors) if kind is Kind.Q4_K else gguf.quants.quantize(vectors, kind)
    writer.add_tensor("token_embd.weight", stored, raw_dtype=kind)
    if vectors.shape[1] == WIDTH:
        for name, place in LAYER.items():
            writer.add_tensor(f"blk.0.{place}.weight", first_layer()[f"encoder.layer.0.{name}.weight"].numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _spelled(token: str) -> str:
    """Files mark the start of words where WordPiece marks their inside."""
    if token[0] == "[" and token[-1] == "]":
        return token
    return token[2:] if token.startswith("##") and len(token) > 2 else f"{START}{token}"
