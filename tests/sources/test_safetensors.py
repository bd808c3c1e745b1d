"""Safetensors headers that nobody vouches for, read from anywhere: only headers that add up are believed."""

from __future__ import annotations

import json
import tracemalloc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load as load_reference
from safetensors.torch import save

from embcheck.errors import SourceError
from embcheck.sources.weights.safetensors import SafetensorsFile
from embcheck.sources.weights.stored import FLOATS

FUZZ = settings(max_examples=400, deadline=None)


class Memory:
    """Bytes in memory as random access, which counts what is read."""

    name = "org/model/model.safetensors"

    def __init__(self, content, size=None):
        self.content = memoryview(bytearray(content))
        self.size = len(content) if size is None else size
        self.largest = 0

    def read(self, start, length):
        """As files have it."""
        self.largest = max(self.largest, length)
        if start < 0 or length < 0 or start + length > self.size:
            raise SourceError(f"{self.name} is truncated")
        return self.content[start : start + length]


def file_of(header, data=b"\0" * 24, *, length=None):
    """A file of a header, given as an object or as text, and data."""
    raw = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def entry(dtype="F32", shape=(2, 3), offsets=(0, 24)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def read(content, size=None):
    return SafetensorsFile(Memory(content, size), "model.safetensors")


@pytest.mark.parametrize("dtype", FLOATS.values())
def test_reads_what_was_saved(dtype):
    """Every matrix of a file comes back bit for bit, whatever lies beside it."""
    stored = torch.arange(12.0).view(4, 3).to(getattr(torch, dtype))
    others = {"i": torch.arange(3), "b": torch.tensor([True]), "f8": torch.ones(5).to(torch.float8_e4m3fn)}
    file = read(save({"a": stored, **others, "empty": torch.zeros(0, 3)}, {"format": "pt"}))
    assert torch.equal(file.load(file.tensors["a"]), stored)
    assert set(file.tensors) == {"a", "i", "b", "f8", "empty"}


def test_data_at_an_odd_place_is_read():
    """Numbers that do not lie where a processor wants them are copied there."""
    header = json.dumps({"a": entry()})
    content = file_of(header + " " * (3 - len(header) % 2), torch.arange(6.0).numpy().tobytes())
    file = read(content)
    assert torch.equal(file.load(file.tensors["a"]), torch.arange(6.0).view(2, 3))


@pytest.mark.parametrize(
    "header",
    [
        {"a": entry(shape=(2, 4))},
        {"a": entry(offsets=(0, 23))},
        {"a": entry(offsets=(1, 25))},
        {"a": entry(offsets=(24, 0))},
        {"a": entry(offsets=(-24, 0))},
        {"a": entry(shape=(-2, -3))},
        {"a": entry(shape=(2**40, 2**40))},
        {"a": entry(shape=(2.0, 3))},
        {"a": entry(shape=(True, 6))},
        {"a": entry(shape=[1] * 17 + [6])},
        {"a": entry(dtype="F64")},
        {"a": entry(dtype=3)},
        {"a": entry(offsets=(0, 24, 24))},
        {"a": entry(offsets=(0,))},
        {"a": {}},
        {"a": []},
        {"a": entry(), "b": entry()},
        {"a": entry(shape=(1, 3), offsets=(0, 12))},
        {"a": entry(shape=(1, 3), offsets=(0, 12)), "b": entry(shape=(1, 3), offsets=(8, 20))},
        {"a": entry(dtype="Q7", offsets=(0, 2**62))},
        [],
        "null",
        "[" * 100_000,
        '{"a":' * 50_000,
        "{}",
        "\xff",
    ],
)
def test_headers_that_do_not_add_up(header):
    """Overlaps, holes, negative or absurd sizes, unknown shapes and deep nesting are refused in one line."""
    with pytest.raises(SourceError, match="truncated or not a safetensors file") as caught:
        read(file_of(header))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [0, 26 * 2**20, 2**40, 2**63, 2**64 - 1])
def test_a_header_that_would_be_large_is_not_read(length):
    """A length that no header has is refused before anything of that size is asked for, however large the file."""
    access = Memory(file_of({"a": entry()}, length=length), size=2**50)
    with pytest.raises(SourceError, match="truncated or not a safetensors file"):
        SafetensorsFile(access, "model.safetensors")
    assert access.largest <= 512


@pytest.mark.parametrize("filling", ["[],", "{},", '"ab",', "999,", '"a":[],'])
def test_a_header_of_trash_takes_little_memory(filling):
    """A header of the largest size, full of small things, is refused before they are all made."""
    content = file_of("[" + filling * (24 * 2**20 // len(filling)) + "0]")
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match="truncated or not a safetensors file"):
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 200 * 2**20
    finally:
        tracemalloc.stop()


@FUZZ
@given(data=st.data())
def test_whatever_is_read_is_what_safetensors_reads(data):
    """A damaged file is refused; or the reference implementation reads the same numbers from it."""
    content = bytearray(save({"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2, 2)}))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        junk = data.draw(st.binary(max_size=3) | st.from_regex(rb"[-0-9\[\]{}\",:aF]{1,6}", fullmatch=True))
        content[at : at + len(junk) * data.draw(st.integers(0, 1))] = junk
    compare(bytes(content))


VALUES = st.sampled_from(["F32", "F16", "I8", "F4", 3, None, "x"])
COUNTS = st.lists(st.integers(-1, 7) | st.sampled_from([12, 16, 24, 40, 2**62, 2**64]), max_size=3)
ENTRIES = st.fixed_dictionaries({}, optional={"dtype": VALUES, "shape": COUNTS, "data_offsets": COUNTS})


@FUZZ
@given(header=st.dictionaries(st.text(max_size=3), ENTRIES | st.just(entry()) | st.none(), max_size=3))
def test_whatever_a_header_says(header):
    """Any header of the right form is refused, or means to the reference implementation what it means here."""
    compare(file_of(header))


def compare(content):
    try:
        file = read(content)
    except SourceError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
        return
    try:
        reference = load_reference(content)
    except SafetensorError:  # stricter in what no table depends on, such as types of numbers
        return
    for name, one in file.tensors.items():
        if one.dtype in FLOATS:
            assert torch.equal(file.load(one).view(torch.uint8), reference[name].view(torch.uint8))
