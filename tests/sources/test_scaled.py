"""Matrices of few bits with a scale beside them: equal to what their libraries make of them, or refused by name."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models

from embcheck import sources
from embcheck.errors import EmbcheckError, SourceError
from embcheck.spec import parse

ROWS, WIDTH = 26, 48
NAME = "model.embed_tokens."
RNG = np.random.default_rng(5)
FLOATS = torch.from_numpy(RNG.standard_normal((ROWS, WIDTH)).astype(np.float32))


@pytest.fixture
def model(tmp_path):
    """Write the parts of an embedding as a model, and give its spec."""

    def write(parts, config=None, *, holder=NAME, options="", legacy=False):
        tensors = {f"{holder}{part}": tensor.contiguous() for part, tensor in parts.items()}
        if legacy:
            torch.save(tensors, tmp_path / "pytorch_model.bin")
        else:
            save_file(tensors, tmp_path / "model.safetensors")
        words = {f"w{row}": row for row in range(ROWS)}
        Tokenizer(models.WordLevel(words, unk_token="w0")).save(str(tmp_path / "tokenizer.json"))
        (tmp_path / "config.json").write_text(json.dumps({"vocab_size": ROWS, **(config or {})}))
        return parse(f"{tmp_path}{options}")

    return write


def load(spec):
    return sources.load(spec, device="cpu")


def pieces(height, width):
    """A scale of blocks of this height and width, and the same number for each row and column, one after the other."""
    scale = RNG.uniform(0.5, 2.0, (math.ceil(ROWS / height), math.ceil(WIDTH / width))).astype(np.float32)
    whole = np.empty((ROWS, WIDTH), np.float32)
    for row in range(ROWS):
        for column in range(WIDTH):
            whole[row, column] = scale[row // height, column // width]
    return torch.from_numpy(scale), whole


# --- fp8 and int8 -----------------------------------------------------------------------------------------------

BLOCKS = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [8, 20]}}
GROUPS = {"quantization_config": {"config_groups": {"group_0": {"weights": {"group_size": 20, "num_bits": 4}}}}}


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8])
@pytest.mark.parametrize("legacy", [False, True], ids=["safetensors", "torch"])
@pytest.mark.parametrize(
    "case",
    [
        ("weight_scale", (ROWS, WIDTH), (), {}, "one scale"),
        ("weight_scale", (ROWS, WIDTH), (1,), {}, "one scale"),
        ("weight_scale", (1, WIDTH), (ROWS,), {}, "a scale a row"),
        ("weight_scale", (1, WIDTH), (ROWS, 1), {}, "a scale a row"),
        ("weight_scale", (1, 16), None, {}, "a scale for each 1 x 16"),
        ("weight_scale", (1, 20), None, GROUPS, "a scale for each 1 x 20"),
        ("weight_scale_inv", (8, 20), None, BLOCKS, "a scale for each 8 x 20"),
    ],
)
def test_numbers_times_their_scale(model, dtype, legacy, case):
    """A number is what is stored times the scale of its block, whether in a file of safetensors or of torch."""
    name, block, shape, config, said = case
    stored = (FLOATS * 20).to(dtype)
    scale, whole = pieces(*block)
    spec = model({"weight": stored, name: scale if shape is None else scale.reshape(shape)}, config, legacy=legacy)
    table = load(spec)
    assert np.array_equal(table.vectors.numpy(), stored.float().numpy() * whole)
    assert table.vectors.dtype == torch.float32
    assert table.provenance.bytes_read == sources.describe(spec).bytes == stored.nbytes + scale.nbytes
    kind = "int8" if dtype == torch.int8 else f"fp8 ({str(dtype)[13:17].upper()})"
    assert table.provenance.notes == (f"stored as {kind} with {said}, read to float32",)


def test_scales_may_be_powers_of_two_and_in_another_file(model, tmp_path):
    """Scales of eight bits of exponent are read, and parts of a matrix that lie in several shards are put together."""
    stored, scale = FLOATS.to(torch.float8_e4m3fn), torch.tensor([2.0] * ROWS).to(torch.float8_e8m0fnu)
    spec = model({"weight": stored})
    (tmp_path / "model.safetensors").unlink()
    shards = {"model-1.safetensors": {f"{NAME}weight": stored}, "model-2.safetensors": {f"{NAME}weight_scale": scale}}
    for file, tensors in shards.items():
        save_file(tensors, tmp_path / file)
    index = {"weight_map": {name: file for file, tensors in shards.items() for name in tensors}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert torch.equal(load(spec).vectors, 2 * stored.float())


def test_a_zero_point_is_taken_off_first(model):
    """Of numbers with a zero point that is what is scaled."""
    stored, zero = (FLOATS * 20).to(torch.int8), torch.arange(ROWS).to(torch.int8)[:, None]
    scale, whole = pieces(1, WIDTH)
    table = load(model({"weight": stored, "weight_scale": scale, "weight_zero_point": zero}))
    assert np.array_equal(table.vectors.numpy(), (stored.float() - zero.float()).numpy() * whole)


# --- compressed-tensors -----------------------------------------------------------------------------------------


def pack(numbers, bits):
    """Unsigned numbers as words of 32 bits, row by row, the lowest bits first: one big number a row."""
    words = math.ceil(numbers.shape[1] * bits / 32)
    rows = [sum(int(number) << (bits * at) for at, number in enumerate(row)) for row in numbers]
    raw = b"".join(row.to_bytes(4 * words, "little") for row in rows)
    return torch.from_numpy(np.frombuffer(raw, np.int32).reshape(len(numbers), words).copy())


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("group", [WIDTH, 16, 20])
@pytest.mark.parametrize("zero", [None, "packed", "plain"])
def test_packed_numbers(model, bits, group, zero):
    """Whole numbers of few bits are taken out of their words, and scaled by row or by group, less a zero point."""
    config = {"quantization_config": {"config_groups": {"g": {"weights": {"group_size": group, "num_bits": bits}}}}}
    half = 1 << (bits - 1)
    numbers = RNG.integers(-half, half, (ROWS, WIDTH))
    scale, whole = pieces(1, group)
    zeros = RNG.integers(-half, half, scale.shape)
    parts = {
        "weight_packed": pack(numbers + half, bits),
        "weight_scale": scale,
        "weight_shape": torch.tensor([ROWS, WIDTH]),
    }
    if zero is not None:
        numbers = numbers - np.repeat(zeros, group, axis=1)[:, :WIDTH]
        parts["weight_zero_point"] = (
            torch.from_numpy(zeros) if zero == "plain" else pack(zeros.T + half, bits).T.contiguous()
        )
    spec = model(parts, config)
    table = load(spec)
    assert np.array_equal(table.vectors.numpy(), numbers.astype(np.float32) * whole)
    assert table.provenance.tensor == f"{NAME}weight"
    assert f"stored as int{bits}, packed" in table.provenance.notes[0]
    assert sources.describe(spec).shape == (ROWS, WIDTH)


@pytest.mark.parametrize(
    ("bits", "kind", "strategy", "symmetric"),
    [
        (4, "int", "group", True), (4, "int", "group", False), (4, "int", "channel", True),
        (8, "int", "channel", False), (8, "float", "channel", True), (8, "float", "tensor", True),
        (8, "float", "block", True),
    ],
)  # fmt: skip
def test_compressed_tensors_reads_the_same(model, bits, kind, strategy, symmetric):
    """What the library compressed is read as the library decompresses it."""
    pytest.importorskip("compressed_tensors")
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams

    sides = {"group_size": 16} if strategy == "group" else {"block_structure": [8, 20]} if strategy == "block" else {}
    args = QuantizationArgs(num_bits=bits, type=kind, strategy=strategy, symmetric=symmetric, **sides)
    height, width = {"group": (1, 16), "block": (8, 20), "channel": (1, WIDTH), "tensor": (ROWS, WIDTH)}[strategy]
    low, high = (
        torch.stack(
            [
                torch.stack([getattr(b, how)() for b in rows.split(width, dim=1)]) for rows in FLOATS.split(height)
            ]
        )
        for how in ("min", "max")
    )  # fmt: skip
    scale, zero = calculate_qparams(low, high, args)
    compressor = BaseCompressor.get_value_from_registry("pack-quantized" if kind == "int" else "float-quantized")
    scheme = QuantizationScheme(targets=["Embedding"], weights=args)
    held = compressor.compress({"weight": FLOATS, "weight_scale": scale, "weight_zero_point": zero}, scheme)
    config = {"quantization_config": {"config_groups": {"group_0": {"weights": args.model_dump(mode="json")}}}}
    table = load(model(held, config))
    assert torch.equal(table.vectors, compressor.decompress(held, scheme)["weight"].float())


# --- bitsandbytes -----------------------------------------------------------------------------------------------


def four_bits(*, nested=False, block=64, kind="nf4"):
    """The parts that bitsandbytes saves, of numbers drawn, and the matrix that they stand for, number by number."""
    count = ROWS * WIDTH
    listed = np.sort(RNG.uniform(-1, 1, 16)).astype(np.float32)
    places = RNG.integers(0, 16, count)
    blocks = math.ceil(count / block)
    state = {"quant_type": kind, "blocksize": block, "dtype": "bfloat16", "shape": [ROWS, WIDTH]}
    parts = {
        "weight": torch.tensor(places[::2] << 4 | places[1::2], dtype=torch.uint8)[:, None],
        "weight.quant_map": torch.from_numpy(listed),
    }
    if nested:
        many = RNG.uniform(-1, 1, 256).astype(np.float32)
        octets = RNG.integers(0, 256, blocks)
        scales = RNG.uniform(1, 2, math.ceil(blocks / 4)).astype(np.float32)
        largest = np.array([many[o] * scales[i // 4] + np.float32(2.5) for i, o in enumerate(octets)], np.float32)
        parts |= {
            "weight.absmax": torch.tensor(octets, dtype=torch.uint8),
            "weight.nested_absmax": torch.from_numpy(scales),
            "weight.nested_quant_map": torch.from_numpy(many),
        }
        state |= {"nested_blocksize": 4, "nested_dtype": "float32", "nested_offset": 2.5}
    else:
        largest = RNG.uniform(1, 2, blocks).astype(np.float32)
        parts["weight.absmax"] = torch.from_numpy(largest)
    parts[f"weight.quant_state.bitsandbytes__{kind}"] = torch.tensor(
        list(json.dumps(state).encode()), dtype=torch.uint8
    )
    whole = np.array([listed[place] * largest[at // block] for at, place in enumerate(places)], np.float32)
    return parts, whole.reshape(ROWS, WIDTH)


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("nested", [False, True])
def test_four_bits_of_bitsandbytes(model, kind, nested):
    """Places in a list of 16 numbers, times the largest of their block, which may be stored by places itself."""
    parts, whole = four_bits(nested=nested, kind=kind)
    table = load(model(parts))
    assert np.array_equal(table.vectors.numpy(), whole)
    assert table.provenance.notes == (
        f"stored as {kind} of bitsandbytes with a scale for each 64 numbers, read to float32",
    )


def test_eight_bits_of_bitsandbytes(model):
    """A row's 127 stands for its largest number."""
    stored, largest = (FLOATS * 40).to(torch.int8), torch.rand(ROWS) + 1
    table = load(model({"weight": stored, "SCB": largest, "weight_format": torch.tensor(0, dtype=torch.uint8)}))
    assert np.allclose(table.vectors.numpy(), stored.numpy() * largest.numpy()[:, None] / 127, rtol=1e-6)


@pytest.mark.parametrize(("kind", "nested"), [("nf4", False), ("nf4", True), ("fp4", False), ("fp4", True), (None, 0)])
@pytest.mark.filterwarnings("ignore")
def test_bitsandbytes_reads_the_same(model, kind, nested):
    """What the library keeps of an output layer is read as the library dequantizes it."""
    bnb = pytest.importorskip("bitsandbytes")
    floats = torch.cat([FLOATS] * 4, dim=1)  # of a width that 64 doesn't divide, the library's own kernel for CPUs errs
    if kind is None:
        layer = bnb.nn.Linear8bitLt(floats.shape[1], ROWS, bias=False, has_fp16_weights=False)
        layer.load_state_dict({"weight": floats.half()}, strict=False)
        held = layer.to("cpu").state_dict()
        expected = bnb.functional.int8_vectorwise_dequant(held["weight"], held["SCB"])
    else:
        layer = bnb.nn.Linear4bit(floats.shape[1], ROWS, bias=False, quant_type=kind, compress_statistics=nested)
        layer.load_state_dict({"weight": floats})
        layer = layer.to("cpu")
        held = layer.state_dict()
        expected = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    assert torch.equal(load(model(held, holder="lm_head.", options=",matrix=output")).vectors, expected)


# --- MLX --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_groups_with_a_bias(model, bits):
    """Unsigned numbers times the scale of their group plus its bias; of many settings those that fit are taken."""
    numbers = RNG.integers(0, 1 << bits, (ROWS, WIDTH))
    (scale, scales), (bias, biases) = pieces(1, 16), pieces(1, 16)
    config = {"quantization": {"group_size": 16, "bits": bits, "lm_head": {"group_size": 64, "bits": 3}}}
    parts = {"weight": pack(numbers, bits).view(torch.uint32), "scales": scale, "biases": bias}
    table = load(model(parts, config))
    assert np.array_equal(table.vectors.numpy(), numbers.astype(np.float32) * scales + biases)
    assert table.provenance.notes[0].startswith(f"stored as {bits} bits with a scale for each 1 x 16 and bias")


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_mlx_reads_the_same(model, bits):
    """What the library quantized is read as the library dequantizes it."""
    mx = pytest.importorskip("mlx.core")
    wide = np.concatenate([FLOATS.numpy()] * 4, axis=1)
    held = mx.quantize(mx.array(wide), group_size=64, bits=bits)
    parts = dict(zip(("weight", "scales", "biases"), (torch.from_numpy(np.array(part)) for part in held), strict=True))
    table = load(model(parts, {"quantization": {"group_size": 64, "bits": bits}}))
    expected = np.array(mx.dequantize(*held, group_size=64, bits=bits))
    assert np.allclose(table.vectors.numpy(), expected, rtol=1e-6, atol=1e-6)


# --- what is refused --------------------------------------------------------------------------------------------


def packed(**changes):
    parts = {
        "weight_packed": torch.zeros(ROWS, WIDTH // 8, dtype=torch.int32),
        "weight_scale": torch.ones(ROWS, 1),
        "weight_shape": torch.tensor([ROWS, WIDTH]),
    }
    return {name: part for name, part in (parts | changes).items() if part is not None}


def four(state=None, **changes):
    parts = four_bits(nested=True)[0]
    if state is not None:
        parts["weight.quant_state.bitsandbytes__nf4"] = torch.tensor(list(state.encode()), dtype=torch.uint8)
    changed = {f"weight.{name}": part for name, part in changes.items()}
    return {name: part for name, part in (parts | changed).items() if part is not None}


BYTES = FLOATS.to(torch.int8)
REFUSED = [
    ({"weight": BYTES}, {}, r"its scale \(weight_scale, weight_scale_inv, SCB\) is not beside it"),
    ({"weight": BYTES.to(torch.uint8), "weight_scale": torch.ones(1)}, {}, "no known scale goes with"),
    ({"weight": BYTES, "weight_scale": torch.ones(WIDTH)}, {}, "no size of blocks"),
    ({"weight": BYTES, "weight_scale": torch.ones(1, WIDTH)}, {}, "no size of blocks"),
    ({"weight": BYTES, "weight_scale": torch.ones(4, 3)}, {}, r"no size of blocks in config\.json makes it"),
    ({"weight": BYTES, "weight_scale": torch.ones(4, 3)}, GROUPS, "no size of blocks"),
    ({"weight": BYTES, "weight_scale": torch.ones(ROWS, 7)}, {}, "no size of blocks"),
    ({"weight": BYTES, "weight_scale": torch.ones(ROWS, dtype=torch.int8)}, {}, "is no scale"),
    (
        {"weight": BYTES, "weight_scale": torch.ones(1), "weight_zero_point": BYTES[0].clone()},
        {},
        "has not the shape of",
    ),
    ({"weight": BYTES, "SCB": torch.ones(ROWS - 1)}, {}, "does not fit"),
    ({"weight": BYTES, "SCB": torch.ones(ROWS), "weight_format": torch.tensor(2, dtype=torch.uint8)}, {}, "the order"),
    (packed(weight_scale=None), {}, "weight_scale or weight_shape is not beside it"),
    (packed(weight_shape=None), {}, "weight_scale or weight_shape is not beside it"),
    (packed(weight_shape=torch.tensor([ROWS, 10**12])), {}, "does not fit it, or its bits"),
    (packed(weight_shape=torch.tensor([ROWS, -8])), {}, "does not fit it, or its bits"),
    (packed(weight_shape=torch.tensor([ROWS, 64])), {}, "does not fit it, or its bits"),
    (packed(weight_g_idx=torch.zeros(WIDTH)), {}, "groups of another order"),
    (packed(weight_packed=torch.zeros(ROWS, 6)), {}, "or of another kind"),
    (four("[]"), {}, "quant_state is no JSON object"),
    (four("{"), {}, "quant_state is no JSON object"),
    (four('{"shape": [26, 48], "blocksize": 0}'), {}, "tells no shape or blocks"),
    (four('{"shape": [26, true], "blocksize": 64}'), {}, "tells no shape or blocks"),
    (four('{"shape": [1, 999999999], "blocksize": 64}'), {}, "its absmax is not beside it, or does not fit"),
    (four('{"shape": [26, 48], "blocksize": 64, "nested_blocksize": 4, "nested_offset": "x"}'), {}, "is no number"),
    (four(nested_absmax=None), {}, "its nested_absmax is not beside it"),
    (four(quant_map=torch.ones(15)), {}, "its quant_map is not beside it, or does not fit"),
    (
        {"weight": BYTES.int().view(torch.uint32), "scales": torch.ones(ROWS, 4), "biases": torch.ones(ROWS, 4)},
        {"quantization": {"bits": 4, "group_size": 64}},
        "bits and group_size of the config, do not fit",
    ),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_can_not_be_told_is_refused_by_name(model, number):
    """A scale that is missing or does not fit is named in one line, with the way out."""
    parts, config, message = REFUSED[number]
    with pytest.raises(SourceError, match=message) as caught:
        load(model(parts, config))
    assert f"{NAME}weight" in str(caught.value)
    assert "or dequantize them first: docs/compare.md" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_packed_output_layers_of_other_kinds_stay_refused(model):
    """GPTQ and AWQ keep what they packed under names of their own."""
    parts = {"qweight": torch.zeros(6, ROWS, dtype=torch.int32), "scales": torch.ones(1, ROWS)}
    with pytest.raises(EmbcheckError, match=r"lm_head\.(qweight|scales) .* is quantized"):
        load(model(parts, holder="lm_head.", options=",matrix=output"))


def test_layers_are_scaled_too(model, tmp_path):
    """A layer's weights of few bits are read as the embedding's are."""
    spec = model({"weight": FLOATS})
    stored = (torch.ones(6, WIDTH) * 3).to(torch.float8_e4m3fn)
    tensors = {f"{NAME}weight": FLOATS, "model.layers.0.mlp.up_proj.weight": stored}
    save_file(
        {**tensors, "model.layers.0.mlp.up_proj.weight_scale": torch.full((6, 1), 2.0)}, tmp_path / "model.safetensors"
    )
    assert torch.equal(load(spec).tensor("mlp_in", 0), torch.full((6, WIDTH), 6.0))
