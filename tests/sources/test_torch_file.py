"""Files that torch.save wrote: read tensor by tensor, without running anything that a pickle says."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import tracemalloc
import zipfile
from collections import OrderedDict

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from embcheck import sources
from embcheck.errors import SourceError
from embcheck.sources.weights.torch_file import TorchFile
from embcheck.spec import parse

NAME = "embeddings.word_embeddings.weight"
FUZZ = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LAYOUTS = {"zip": True, "legacy": False}


class Memory:
    """Bytes in memory as random access."""

    name = "weights.bin"

    def __init__(self, content):
        self.content = memoryview(bytearray(content))
        self.size = len(content)

    def read(self, start, length):
        """As files have it."""
        if start < 0 or length < 0 or start + length > self.size:
            raise SourceError(f"{self.name} is truncated")
        return self.content[start : start + length]


def saved(content, layout="zip", protocol=2):
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=LAYOUTS[layout], pickle_protocol=protocol)
    return buffer.getvalue()


def read(content):
    """Every matrix of floats in a file, by name."""
    file = TorchFile(Memory(content), "weights.bin")
    floats = {"F16", "BF16", "F32", "F64"}
    wanted = [one for one in file.tensors.values() if len(one.shape) == 2 and one.dtype in floats]
    return {one.name: file.load(one) for one in wanted}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_reads_what_was_saved(matrix, layout, protocol, dtype):
    """Any matrix of floats comes back bit for bit, in both formats and of any dtype."""
    stored = matrix(20, dtype=dtype)
    others = {"position_ids": torch.arange(9), "scale": torch.tensor(2.0), "flag": torch.tensor([True])}
    content = OrderedDict(**others, table=stored, parameter=nn.Parameter(stored.clone()))
    content._metadata = OrderedDict({"": {"version": 1}})
    found = read(saved(content, layout, protocol))
    assert set(found) == {"table", "parameter"}
    assert torch.equal(found["table"], stored)
    assert torch.equal(found["parameter"], stored)


@pytest.mark.parametrize("missing", [1, 40])
def test_a_file_that_was_cut_after_the_matrix_is_refused(matrix, missing):
    """Of the old format too, a file that ends too early is one that wasn't downloaded whole, whatever is missing."""
    content = saved({"table": matrix(20), "other": torch.ones(4, 3)}, "legacy")
    assert set(read(content)) == {"table", "other"}
    with pytest.raises(SourceError, match="download it again"):
        read(content[:-missing])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reads_parts_of_a_storage(matrix, layout):
    """Tied, cut and transposed matrices, which share one storage, come back as they were."""
    whole = matrix(20)
    content = {"a": whole, "b": whole, "rows": whole[3:9], "columns": whole[:, 1:3], "turned": whole.T}
    found = read(saved(content, layout))
    assert all(torch.equal(found[name], content[name]) for name in content)


@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_reads_checkpoints(matrix, key):
    """Weights inside a training checkpoint are found, under the name of what holds them."""
    content = {key: {NAME: matrix(20)}, "epoch": 3, "lr": 1e-3, "size": torch.Size([2]), "device": torch.device("cpu")}
    assert torch.equal(read(saved(content))[f"{key}.{NAME}"], matrix(20))


def test_a_pickle_that_refers_to_itself_ends(matrix):
    """Dictionaries that hold themselves, or share others a million ways, are walked once."""
    inner = {"t": matrix(2)}
    for _ in range(60):
        inner = {"a": inner, "b": inner}
    inner["self"] = inner
    assert read(saved({"m": inner, "t": matrix(3)})).keys() == {"t"}


@pytest.fixture
def save_bin(save_model, tmp_path, wordpiece):
    """Write a model directory with a pickled file of weights, and return the spec of it."""

    def save(content, name="pytorch_model.bin"):
        spec = save_model({}, wordpiece, name="unused.safetensors")
        folder = tmp_path / "model"
        (folder / "unused.safetensors").unlink()
        (folder / name).write_bytes(content)
        return spec

    return save


def test_a_directory(save_bin, matrix):
    """A directory with pytorch_model.bin is a model directory."""
    stored = matrix(14, dtype=torch.bfloat16)
    spec = save_bin(saved({NAME: stored, "other": matrix(3)}))
    table = sources.load(spec, device="cpu")
    assert torch.equal(table.vectors, stored)
    assert (table.provenance.tensor, table.provenance.bytes_read) == (NAME, stored.nbytes)
    assert sources.describe(spec).files == ("pytorch_model.bin", "tokenizer.json")


@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights.ckpt", "weights.bin"])
def test_a_file_stands_for_its_directory(save_bin, matrix, name):
    """A file of weights given by its path is read with the tokenizer beside it, whatever else lies there."""
    spec = save_bin(saved({NAME: matrix(14)}), name)
    save_bin(b"not weights", "pytorch_model.bin")
    assert torch.equal(sources.load(parse(f"{spec.target}/{name}"), device="cpu").vectors, matrix(14))


def test_shards(save_bin, matrix):
    """Of pickled shards with an index only the one with the table is opened."""
    save_bin(b"never opened", "pytorch_model-00002-of-00002.bin")
    weight_map = {NAME: "pytorch_model-00001-of-00002.bin", "lm_head.x": "pytorch_model-00002-of-00002.bin"}
    save_bin(json.dumps({"weight_map": weight_map}).encode(), "pytorch_model.bin.index.json")
    spec = save_bin(saved({NAME: matrix(14)}), "pytorch_model-00001-of-00002.bin")
    assert torch.equal(sources.load(spec, device="cpu").vectors, matrix(14))


def test_an_optimizer_is_no_model(save_bin, matrix):
    """What a trainer leaves beside the weights does not make it unclear which they are."""
    for name in ("optimizer.pt", "training_args.bin", "scheduler.pt", "rng_state.pth"):
        save_bin(b"anything", name)
    assert len(sources.load(save_bin(saved({NAME: matrix(14)}), "own.pt"), device="cpu").vectors) == 14


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def hostile(target):
    command = f"touch {target}"
    return [
        Hostile(os.system, command),
        Hostile(eval, f"__import__('os').system({command!r})"),
        Hostile(exec, f"open({str(target)!r}, 'w')"),
        {NAME: Hostile(open, str(target), "w")},
        OrderedDict(a=torch.ones(2, 2), b=Hostile(os.mkdir, str(target))),
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("number", range(5))
def test_no_code_runs(tmp_path, layout, number):
    """A pickle that calls anything is refused by the name of what it calls, which is not called."""
    target = tmp_path / "ran"
    with pytest.raises(
        SourceError, match=r"holds (posix|os|builtins|__builtin__|io|_io)\.\w+, which is no tensor"
    ) as caught:
        read(saved(hostile(target)[number], layout))
    assert not target.exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [b"torch.hub\nload", b"torch._utils\n__loader__", b"torch\nload", b"builtins\ngetattr", b"collections\n_sys"],
)
def test_names_are_never_looked_up(name):
    """Only the few names that tensors are made of are known; others of the same modules are not."""
    steps = b"\x80\x02c" + name + b"\n(X\x01\x00\x00\x00xtR."
    with pytest.raises(SourceError, match="which is no tensor and could run code"):
        read(archive(steps))


def archive(pickled, entries=None, **options):
    """A zip file as torch.save lays it out, around a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as file:
        file.writestr("archive/data.pkl", pickled)
        for name, content in (entries or {}).items():
            file.writestr(f"archive/{name}", content)
    return buffer.getvalue()


def tensor_steps(*, count=12, offset=0, shape=(3, 4), strides=(4, 1), key="0", kind="FloatStorage"):
    """A pickle of one tensor under the name ``t``, with anything for its numbers."""

    def number(value):
        raw = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
        return b"\x8a" + bytes([len(raw)]) + raw

    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def sizes(values):
        return b"(" + b"".join(map(number, values)) + b"t"

    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + number(count) + b"tQ"
    steps = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + sizes(shape) + sizes(strides)
    return b"\x80\x02}" + text("t") + steps + b"\x89ccollections\nOrderedDict\n)RtRs."


NUMBERS = struct.pack("<12f", *range(12))


def test_the_steps_of_the_tests_are_right():
    """The pickle that the next tests spoil is a good one."""
    [table] = read(archive(tensor_steps(), {"data/0": NUMBERS})).values()
    assert torch.equal(table, torch.arange(12.0).view(3, 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offset": 1}, "does not fit its storage of 12 numbers"),
        ({"offset": -1}, "truncated or no pickle of tensors"),
        ({"shape": (4, 4)}, "does not fit its storage"),
        ({"shape": (2**40, 4)}, "does not fit its storage"),
        ({"shape": (2**62, 2**62)}, "does not fit its storage"),
        ({"strides": (5, 1)}, "does not fit its storage"),
        ({"strides": (0, 0)}, "does not fit its storage"),
        ({"shape": (10**9, 4), "strides": (0, 1)}, "does not fit its storage"),
        ({"strides": (1, 1)}, "does not fit its storage"),
        ({"strides": (4,)}, "does not fit its storage"),
        ({"strides": (-4, 1)}, "truncated or no pickle of tensors"),
        ({"count": 13}, "has 48 bytes, not 13 numbers of F32"),
        ({"count": 2**62}, "has 48 bytes, not"),
        ({"key": "1"}, "lacks its entry archive/data/1"),
        ({"key": "../0"}, "lacks its entry"),
        ({"kind": "DoubleStorage"}, "has 48 bytes, not 12 numbers of F64"),
    ],
)
def test_tensors_stay_in_their_storage(changes, message):
    """Sizes, strides and offsets that leave the storage, or use a number twice, are refused before anything is read."""
    with pytest.raises(SourceError, match=message):
        read(archive(tensor_steps(**changes), {"data/0": NUMBERS}))


def test_compressed_entries_are_refused():
    """A zip bomb, which torch.save never writes, is not unpacked: neither the pickle nor a storage."""
    bomb = archive(tensor_steps(count=2**28), {"data/0": b"\0" * 2**24}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(SourceError, match="is compressed or encrypted"):
        read(bomb)


def test_overlapping_entries_are_refused():
    """Entries that claim each other's bytes, as nested zip bombs do, are refused."""
    content = bytearray(archive(tensor_steps(), {"data/0": NUMBERS, "data/1": NUMBERS}))
    _, second, _ = (match.start() for match in re.finditer(b"PK\x01\x02", content))
    for field in (20, 24):  # both sizes of data/0, in the directory alone
        struct.pack_into("<I", content, second + field, len(NUMBERS) + 64)
    with pytest.raises(SourceError, match="runs into what follows it"):
        read(bytes(content))


def test_big_endian_files_are_refused():
    """A file from a machine of the other byte order says so."""
    with pytest.raises(SourceError, match="big-endian"):
        read(archive(tensor_steps(), {"byteorder": b"big", "data/0": NUMBERS}))


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x80\x02" + b"]" * 2**23 + b".",
        b"\x80\x02]r\xff\xff\xff\xff.",
        b"\x80\x05\x96\xff\xff\xff\xff\x0f\x00\x00\x00.",
        b"\x80\x02" + b"(" * 2**22 + b"t" * 2**22 + b".",
        b"\x80\x02X\xff\xff\xff\xffabc.",
        b"\x80\x02]" + b"2a" * 2**21 + b".",
        b"\x80\x02I" + b"9" * 10**6 + b"\n.",
    ],
)
def test_pickle_bombs_take_no_memory(bomb):
    """Pickles that ask for gigabytes, or for millions of objects, are refused before they have them."""
    content = archive(bomb)
    tracemalloc.start()
    try:
        with pytest.raises(SourceError):
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 300 * 2**20
    finally:
        tracemalloc.stop()


def test_what_is_no_dictionary_is_refused(matrix):
    """A tensor by itself has no name to choose it by."""
    with pytest.raises(SourceError, match="holds no dictionary of tensors"):
        read(saved(matrix(3)))


def test_a_view_with_other_signs_is_refused(save_bin, matrix):
    """What torch saves as the negative of its storage is not read with the storage's signs."""
    with pytest.raises(SourceError, match=r"NEGATED.* give a checkpoint whose embeddings are"):
        sources.load(save_bin(saved({NAME: torch._neg_view(matrix(14))})), device="cpu")


@pytest.mark.parametrize("kind", [torch.int8, torch.float8_e4m3fn, torch.uint16])
def test_quantized_tables_are_refused(save_bin, kind):
    """Numbers that need a scale, or are none, are named for what they are."""
    with pytest.raises(SourceError, match="is quantized or no float"):
        sources.load(save_bin(saved({NAME: torch.ones(14, 4).to(kind)})), device="cpu")


@pytest.fixture(scope="module")
def whole():
    """A file of each layout, saved once: torch names storages by addresses, and so no two saves have one length."""
    tensors = {name: torch.arange(4.0 * rows).view(rows, 4) for name, rows in ((NAME, 14), ("other", 3))}
    return {layout: saved(tensors, layout) for layout in LAYOUTS}


@FUZZ
@given(layout=st.sampled_from(sorted(LAYOUTS)), data=st.data())
def test_damaged_files_are_refused_or_read(whole, layout, data):
    """Whatever bytes stand anywhere in a file, it is read or refused in one line."""
    content = bytearray(whole[layout])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(
            st.integers(0, len(content)) | st.integers(0, 64) | st.integers(max(0, len(content) - 400), len(content))
        )
        junk = data.draw(st.binary(max_size=8))
        content[at : at + len(junk) * data.draw(st.integers(0, 1))] = junk
    del content[len(content) - data.draw(st.sampled_from([0, 0, 0, 1, 30, 300])) :]
    check_refused_or_read(bytes(content))


@FUZZ
@given(data=st.data())
def test_damaged_pickles_are_refused_or_read(data):
    """Whatever steps stand in a pickle, whole around it, it is read or refused in one line."""
    steps = bytearray(tensor_steps())
    names = [b"ctorch\nFloatStorage\n", b"ctorch\nSize\n", b"ccollections\nOrderedDict\n", b"c_codecs\nencode\n"]
    junk = st.binary(min_size=1, max_size=4) | st.sampled_from(
        [*names, b"R", b"Q", b"b", b"s", b"u", b"(", b"t", b"\x93"]
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(2, len(steps)))
        part = data.draw(junk)
        steps[at : at + data.draw(st.integers(0, len(part)))] = part
    check_refused_or_read(archive(bytes(steps), {"data/0": NUMBERS}))


@FUZZ
@given(junk=st.binary(max_size=300))
def test_pickles_of_anything_are_refused_or_read(junk):
    """Any bytes at all in place of the pickle end in one line."""
    check_refused_or_read(archive(b"\x80\x02" + junk))


def check_refused_or_read(content):
    try:
        found = read(content)
    except SourceError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
        assert len(str(error)) < 600  # noqa: PT017 - either outcome is right
    else:
        assert all(table.ndim == 2 and table.numel() <= len(content) for table in found.values())


def test_pickle_itself_would_have_run_it(tmp_path):
    """The hostile pickles of these tests are not blunt: Python's own reader runs them."""
    target = tmp_path / "ran"
    pickle.loads(pickle.dumps(hostile(target)[0]))  # noqa: S301 - what this test is about
    assert target.exists()
