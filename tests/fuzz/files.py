"""Small files as the real libraries write them, mutations of their bytes, and what loading one comes to."""

from __future__ import annotations

import base64
import json
import shutil
import struct
import sys
import time
import warnings
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import reference
import torch

from embcheck import sources
from embcheck.baseline.file import Baseline, Checkpoint, Entry, load
from embcheck.errors import EmbcheckError
from embcheck.estimate import Snapshot
from embcheck.reports import json_file
from embcheck.run.session import Model, Session
from embcheck.settings import Settings
from embcheck.spec import parse

SECONDS = 5.0
LONGEST_LINE = 2_100
WORDS = ["king", "queen", "man", "woman", "cat", "dog", "a", "[UNK]"]
INTERESTING = [
    b"\0",
    b"\xff",
    b"\x80",
    b"\n",
    b'"',
    b"{",
    b"[",
    b"\x1b[31m",
    b"\n::error::x",
    "\u202e".encode(),
    b"NaN",
]
INTERESTING += [b"1e999", b"-1", b"9" * 400, b"[" * 5000, b'{"a":' * 2000, b"A" * 100_000, b"../../x", b"\\u0000"]
NUMBERS = [0, 1, 0x7F, 0xFF, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1]


def write_all(folder: Path) -> dict[str, tuple[str, str]]:
    """Write each kind of file: by its name the path to mutate, and the spec that reads it (or ``baseline:``)."""
    from gensim.models import KeyedVectors
    from gguf import GGUFWriter
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models

    vectors = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    tensors = {"model.embed_tokens.weight": torch.from_numpy(vectors), "layer.0.weight": torch.ones(3, 4)}
    tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(WORDS)}, unk_token="[UNK]"))
    config = {"model_type": "llama", "vocab_size": 8, "hidden_size": 4, "num_attention_heads": 2, "scale_emb": 2}

    def model(name, write):
        path = folder / name
        path.mkdir()
        tokenizer.save(str(path / "tokenizer.json"))
        (path / "config.json").write_text(json.dumps(config))
        write(path)
        return path

    def safetensors(path):
        return save_file(tensors, path / "model.safetensors")

    def torch_zip(path):
        return torch.save(tensors, path / "pytorch_model.bin")

    def legacy(path):
        return _save_legacy(tensors, path / "pytorch_model.bin")

    paths = {"safetensors": model("safetensors", safetensors) / "model.safetensors"}
    paths["torch zip"] = model("zip", torch_zip) / "pytorch_model.bin"
    paths["torch legacy"] = model("legacy", legacy) / "pytorch_model.bin"
    paths["tokenizer.json"] = model("tokenizer", safetensors) / "tokenizer.json"
    paths["config.json"] = model("config", safetensors) / "config.json"
    cases = {kind: (str(path), str(path.parent)) for kind, path in paths.items()}
    writer = GGUFWriter(str(folder / "m.gguf"), "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(WORDS)
    writer.add_token_scores([0.0] * 8)
    writer.add_token_types([1] * 8)
    writer.add_tensor("token_embd.weight", vectors)
    writer.add_tensor("blk.0.weight", np.ones((3, 32), np.float16))
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    cases["gguf"] = (str(folder / "m.gguf"), f"gguf:{folder / 'm.gguf'}")
    np.save(folder / "m.npy", vectors)
    (folder / "words.txt").write_text("\n".join(WORDS))
    cases["npy"] = (str(folder / "m.npy"), f"npy:{folder / 'm.npy'},vocab={folder / 'words.txt'}")
    keyed = KeyedVectors(4)
    keyed.add_vectors(WORDS, vectors)
    keyed.save(str(folder / "m.kv"))
    keyed.save_word2vec_format(str(folder / "w2v.bin"), binary=True)
    keyed.save_word2vec_format(str(folder / "w2v.txt"))
    (folder / "glove.txt").write_text("\n".join((folder / "w2v.txt").read_text().splitlines()[1:]) + "\n")
    for kind, scheme, name in (
        ("word2vec binary", "word2vec", "w2v.bin"),
        ("word2vec text", "word2vec", "w2v.txt"),
        ("glove", "glove", "glove.txt"),
        ("gensim", "gensim", "m.kv"),
    ):
        cases[kind] = (str(folder / name), f"{scheme}:{folder / name}")
    cases |= _stores(folder, vectors)
    cases |= _trained(folder, torch.from_numpy(vectors), tokenizer)
    cases |= _others(folder, vectors)
    cases["baseline"] = (str(_baseline(folder)), "baseline:")
    cases["report"] = (str(_report(folder)), "report:")
    return cases


def _stores(folder: Path, vectors: np.ndarray) -> dict[str, tuple[str, str]]:
    """Files of columns: float32 lists of one width under ``v``, words under ``t``."""
    import pyarrow as pa
    from pyarrow import feather, ipc, parquet

    table = pa.table({"v": list(vectors), "t": WORDS})
    parquet.write_table(table, folder / "m.parquet", row_group_size=5)
    for name, opened in (("file", ipc.new_file), ("stream", ipc.new_stream)):
        with opened(folder / f"{name}.arrow", table.schema) as out:
            out.write_table(table, max_chunksize=5)
    feather.write_feather(table, folder / "m.feather", compression="lz4")
    lines = ({"v": row.tolist(), "t": word} for row, word in zip(vectors, WORDS, strict=True))
    (folder / "m.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    np.savez_compressed(folder / "m.npz", v=vectors, t=np.array(WORDS))
    names = {
        "parquet": "parquet:m.parquet", "arrow": "arrow:file.arrow", "arrow stream": "arrow:stream.arrow",
        "feather": "arrow:m.feather", "jsonl": "jsonl:m.jsonl", "npz": "npz:m.npz",
    }  # fmt: skip
    specs = {kind: spec.split(":") for kind, spec in names.items()}
    return {
        k: (str(folder / name), f"{scheme}:{folder / name},vectors=v,words=t") for k, (scheme, name) in specs.items()
    }


def _trained(folder: Path, table: torch.Tensor, tokenizer: Any) -> dict[str, tuple[str, str]]:
    """Checkpoints of trainers and of those who quantize, read with a tokenizer that lies beside them."""
    import torch.distributed.checkpoint as dcp
    from safetensors.torch import save_file

    beside = folder / "beside"
    beside.mkdir()
    tokenizer.save(str(beside / "tokenizer.json"))
    name = "model.embed_tokens."
    paths = {}
    for kind, parts in _scaled(table).items():
        paths[kind] = folder / kind.replace(" ", "_") / "model.safetensors"
        paths[kind].parent.mkdir()
        save_file({f"{name}{part}": tensor.contiguous() for part, tensor in parts.items()}, paths[kind])
    for kind, file in (("sharded metadata", ".metadata"), ("sharded part", "__0_0.distcp")):
        paths[kind] = folder / kind.replace(" ", "_") / file
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a run of one process
            dcp.save({f"{name}weight": table}, checkpoint_id=str(paths[kind].parent), no_dist=True)
    paths["checkpoint"] = folder / "last.ckpt"
    torch.save({"state_dict": {f"{name}weight": table}, "args": Namespace(lr=0.1)}, paths["checkpoint"])
    base = folder / "base"
    base.mkdir()
    save_file({f"{name}weight": table}, base / "model.safetensors")
    paths["adapter"] = folder / "adapter" / "adapter_model.safetensors"
    paths["adapter"].parent.mkdir()
    (folder / "adapter" / "adapter_config.json").write_text('{"lora_alpha": 2}')
    lora = {"A": torch.ones(1, len(table)), "B": table[:1].T.contiguous()}
    adapted = {f"base_model.model.{name}lora_embedding_{part}": tensor for part, tensor in lora.items()}
    save_file(adapted, paths["adapter"])
    paths["tiktoken"] = folder / "own.tiktoken"
    lines = (b"%s %d\n" % (base64.b64encode(word.encode()), row) for row, word in enumerate(WORDS))
    paths["tiktoken"].write_bytes(b"".join(lines))
    options = {"adapter": f",base={base}", "tiktoken": f",tokenizer={paths['tiktoken']}"}
    targets = {"checkpoint": paths["checkpoint"], "tiktoken": base}
    return {
        kind: (
            str(path),
            f"{targets.get(kind, path.parent)}{options.get(kind, '')}"
            + ("" if kind == "tiktoken" else f",tokenizer={beside}"),
        )
        for kind, path in paths.items()
    }


def _scaled(table: torch.Tensor) -> dict[str, dict[str, torch.Tensor]]:
    """The parts of an embedding of few bits."""
    state = {"quant_type": "nf4", "blocksize": 16, "dtype": "float32", "shape": list(table.shape)}
    rng = np.random.default_rng(1)
    return {
        "fp8": {"weight": table.to(torch.float8_e4m3fn), "weight_scale_inv": torch.rand(len(table), 1)},
        "packed": {
            "weight_packed": torch.from_numpy(rng.integers(0, 2**31, (len(table), 4), dtype=np.int32)),
            "weight_scale": torch.rand(len(table), 2),
            "weight_shape": torch.tensor([len(table), 32]),
        },
        "nf4": {
            "weight": torch.from_numpy(rng.integers(0, 256, (table.numel() // 2, 1), dtype=np.uint8)),
            "weight.absmax": torch.rand(table.numel() // 16),
            "weight.quant_map": torch.linspace(-1, 1, 16),
            "weight.quant_state.bitsandbytes__nf4": torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8),
        },
    }


def _others(folder: Path, vectors: np.ndarray) -> dict[str, tuple[str, str]]:
    """What other programs keep vectors in, written by hand."""
    sys.path.append(str(Path(__file__).parents[1] / "sources"))
    import written
    from safetensors.torch import save_file

    rows = {word: row % 8 for row, word in enumerate([*WORDS[:-1], "unk", "kings", "Kings"])}
    spacy = written.write_spacy(folder / "spacy", vectors, rows)
    cases = {f"spacy {name}": (str(spacy / name), f"spacy:{spacy}") for name in ("vectors", "key2row", "strings.json")}
    quantized = {"decoder/embeddings/weight": (vectors * 40).astype(np.int8)}
    scale = {"decoder/embeddings/weight_scale": np.full(8, 40, np.float32)}
    model = written.write_ct2(folder / "ct2", WORDS, {**quantized, **scale, "decoder/scale_embeddings": np.int8(1)})
    cases["ctranslate2"] = (str(model / "model.bin"), f"ctranslate2:{model}")
    static = folder / "model2vec"
    static.mkdir()
    shutil.copy(folder / "safetensors" / "tokenizer.json", static)
    parts = {"embeddings": torch.from_numpy(vectors * 40).to(torch.int8)[:5], "weights": torch.linspace(1, 2, 8)}
    save_file({**parts, "mapping": torch.arange(8) % 5}, static / "model.safetensors")
    cases["model2vec"] = (str(static / "model.safetensors"), f"model2vec:{static}")
    named = f"vocab={folder / 'words.txt'}"
    for kind, content in (
        ("faiss", written.faiss_flat(vectors)),
        ("faiss ids", written.faiss_flat(vectors, ids=range(7, 15))),
        ("onnx", written.onnx_embedding(vectors)),
    ):
        path = folder / f"{kind.replace(' ', '-')}.bin"
        path.write_bytes(content)
        options = f",{named}" if kind == "onnx" else ""
        cases[kind] = (str(path), f"{kind.split()[0]}:{path}{options}")
    return cases


def _save_legacy(tensors: dict[str, torch.Tensor], file: Path) -> None:
    """As torch did before 1.6; the names of storages, which are addresses, become the same in each run."""
    torch.save(tensors, file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    for number, tensor in enumerate(tensors.values()):
        key = str(tensor.untyped_storage()._cdata).encode()
        assert key in content
        content = content.replace(key, b"%0*d" % (len(key), number))
    file.write_bytes(content)


def _baseline(folder: Path) -> Path:
    checkpoint = Checkpoint("m", None, "a" * 64, "b" * 64, (8, 4), "float32", "known", ((0, 7),), 0, "0.1")
    snapshot = Snapshot(0.5, 0.4, 0.6, 0.95, is_exact=False, scale="x", unit="pairs", n=20)
    entry = Entry(id="toy", params={}, version=1, checkpoint=checkpoint, snapshot=snapshot, reason=None)
    path = folder / "base.json"
    path.write_text(Baseline("base", path, {entry.key: entry}).text)
    return path


def _report(folder: Path) -> Path:
    from embcheck.checks import collect

    spec = parse("random:50x8")
    run = Session([Model(spec, lambda: sources.load(spec, device="cpu"))], Settings()).run(
        collect.collect(globs=["isotropy"])
    )
    run.save(folder / "report.json")
    return folder / "report.json"


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with one to four changes: bits, bytes, numbers, pieces left out, doubled, moved or put in."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(0, max(1, len(data))))
        if rng.random() < 0.5:  # headers are where the decisions are
            at = min(at, int(rng.integers(0, 512)))
        kind, length = int(rng.integers(0, 8)), int(rng.integers(1, 64))
        if kind == 0 and data:
            data[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1 and data:
            data[at] = int(rng.integers(0, 256))
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length]
        elif kind == 4:
            data[at:at] = INTERESTING[int(rng.integers(0, len(INTERESTING)))]
        elif kind == 5:
            number, size = NUMBERS[int(rng.integers(0, len(NUMBERS)))], int(rng.choice([1, 2, 4, 8]))
            data[at : at + size] = (number & (256**size - 1)).to_bytes(size, "little")
        elif kind == 6:
            del data[at:]
        else:
            data[at : at + 4] = struct.pack("<f", float(rng.choice([np.nan, np.inf, -1e38, 1e-45])))
    return bytes(data)


def outcome(kind: str, path: str, spec: str, whole: object) -> tuple[str, object]:
    """What loading comes to: ``same``, ``another`` beside the library's, ``error``, ``internal`` with what is wrong."""
    began = time.monotonic()
    try:
        loaded = _loaded(path, spec)
    except EmbcheckError as error:
        line = str(error)
        told: tuple[str, object] = ("error", line)
        if not line.isprintable() or len(line) > LONGEST_LINE:
            told = ("internal", f"not one line: {line[:200]!r}")
    except Exception as error:  # noqa: BLE001 - what it is about
        told = ("internal", f"{type(error).__name__}: {str(error)[:300]}")
    else:
        told = ("same", None) if loaded == whole else ("another", _beside_library(kind, path, spec))
    if (seconds := time.monotonic() - began) > SECONDS:
        return "internal", f"{seconds:.1f} s, then {told[0]}"
    return told


def _loaded(path: str, spec: str) -> object:
    """What is read, in a form that can be compared."""
    if spec == "baseline:":
        return str(load(Path(path).parent, "base"))
    if spec == "report:":
        return str(json_file.read(Path(path)))
    parsed = parse(spec)
    sources.describe(parsed)
    table = sources.load(parsed, device="cpu")
    table.excluded()
    return table.vectors.double().numpy().tobytes(), tuple(table.tokens[:64]), bytes(table.status), len(table.tokens)


def _beside_library(kind: str, path: str, spec: str) -> str:
    """What the format's own library makes of the same file."""
    if spec in {"baseline:", "report:"}:
        return "no library"
    return reference.compared(kind, path, sources.load(parse(spec), device="cpu"))


def whole(path: str, spec: str) -> object:
    """What the file holds before it is mutated."""
    return _loaded(path, spec)
