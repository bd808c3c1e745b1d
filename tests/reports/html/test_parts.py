"""The parts of a page: range plots, numbers, heatmaps, labels."""

from __future__ import annotations

import base64
import math
import re
import struct
import zlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from records import claim, estimate, model, report, result

from embcheck.errors import UsageError
from embcheck.reports.html import images, rows, vega
from embcheck.reports.html.images import heat
from embcheck.reports.text import inert

FINITE = st.floats(-1e6, 1e6).map(lambda v: round(v, 4))


def measured(value, low, high, *claims):
    return result(estimate=estimate(value, low, high), claims=claims)


@given(value=FINITE, half=st.floats(0, 100), bound=FINITE, op=st.sampled_from(["above", "below"]))
def test_a_dot_lies_in_the_shade_where_the_claim_holds(value, half, bound, op):
    """The interval's places lie inside the shaded stretch exactly where its numbers lie on the claim's side."""
    low, high = value - half, value + half
    assume(min(abs(low - bound), abs(high - bound)) > 1e-9 + 1e-3 * (abs(bound) + abs(value) + half))
    row = measured(value, low, high, claim(op, bound))
    place = rows.range_of(row, rows.axis_of([row]))
    ((start, width),) = place.holds
    inside = start - 0.02 <= place.low and place.high <= start + width + 0.02
    assert inside == (low > bound if op == "above" else high < bound)
    assert 0 <= place.low <= place.value <= place.high <= 100


@given(numbers=st.lists(FINITE, min_size=2, max_size=8))
def test_places_keep_the_order_of_numbers(numbers):
    """A larger number lies no further left, on either kind of axis; ticks lie where their numbers do."""
    line = rows.axis_of([measured(v, v, v, claim("above", numbers[0])) for v in numbers])
    places = [line.place(v) for v in sorted(numbers)]
    assert places == sorted(places)
    assert all(0 <= at <= 100 and abs(line.place(float(text)) - at) < 0.1 for at, text in line.ticks)


def test_ranks_get_a_logarithmic_axis():
    """Numbers of very different size, all above zero, share a logarithmic axis; others a linear one."""
    assert rows.axis_of([measured(v, v, v, claim("below", 11)) for v in (1, 20_000)]).is_logarithmic
    assert not rows.axis_of([measured(v, v, v, claim("above", 0)) for v in (-1, 20_000)]).is_logarithmic
    assert rows.axis_of([result(estimate=None)]) is None


def test_two_bounds_shade_what_lies_between():
    """Of several claims on the value, the stretch where all hold is shaded."""
    row = measured(0.5, 0.4, 0.6, claim("above", 0.0), claim("within", 0.2, 0.8))
    line = rows.axis_of([row])
    ((start, width),) = rows.range_of(row, line).holds
    assert start == line.place(0.2)
    assert start + width == pytest.approx(line.place(0.8), abs=0.02)


@given(value=st.floats(-10, 10), half=st.floats(1e-6, 5), bound=st.floats(-10, 10).map(lambda v: round(v, 2)))
def test_rounding_never_moves_a_number_onto_a_bound(value, half, bound):
    """An interval is written to the digits that its width leaves, and never equals a bound that it does not touch."""
    numbers = (value, value - half, value + half)
    written = rows._together(numbers, [bound])
    for number, text in zip(numbers, written, strict=True):
        assert abs(float(text) - number) <= 0.06 * 2 * half + 1e-9
        assert (float(text) != bound) or abs(number - bound) < 1e-8


def test_numbers_are_rounded_for_reading():
    """Two digits of the width; counts have separators."""
    assert rows._together((0.117970289, 0.10735495, 0.1285856), [0.05]) == ["0.118", "0.107", "0.129"]
    assert rows._together((10702.0, 10702.0, 10702.0), [11]) == ["10,702"] * 3
    assert rows._together((0.5466817, 0.5466817, 0.5466817), [0.51])[0] == "0.5467"


def chunks(png):
    """Kind and data of a PNG's chunks, each checked against its sum."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, found = 8, {}
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        data = png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + data)
        found[kind] = data
        at += 12 + size
    return found


def test_a_heatmap_is_a_picture_of_its_matrix():
    """One pixel a cell: hue by sign, opacity by size up to the limit; names are escaped, cells can be read again."""
    matrix = [[1.0, -0.25, 0.0], [0.5, -9.0, 0.1], [0.0, 0.0, 0.0]]
    markup = str(heat(matrix, ['"><script>', "b\x1b", "c"], "a <picture>", limit=0.5))
    found = chunks(base64.b64decode(re.search(r"base64,([^\"]+)", markup)[1]))
    assert struct.unpack(">II", found[b"IHDR"][:8]) == (3, 3)
    lines = zlib.decompress(found[b"IDAT"])
    levels = [lines[4 * i + 1 + j] for i in range(3) for j in range(3)]
    opacity = [found[b"tRNS"][level] / 255 for level in levels]
    hot = [found[b"PLTE"][3 * level] > 128 for level in levels]
    flat = [value for row in matrix for value in row]
    for value, shown, is_hot in zip(flat, opacity, hot, strict=True):
        assert shown == pytest.approx(min(1, abs(value) / 0.5), abs=0.007)
        assert value == 0 or is_hot == (value > 0)
    assert "<script>" not in markup
    assert "\x1b" not in markup
    assert base64.b64decode(re.search(r'data-cells="([^"]+)"', markup)[1]) == bytes(levels)


def test_a_heatmap_may_have_other_columns_than_rows():
    """With names for its columns a heatmap is as wide as they are many, and says them beside the rows'."""
    markup = str(heat([[1.0, 0.0, -1.0]], ["row"], "one row", limit=1.0, columns=["x", "y", "<z>"]))
    ihdr = chunks(base64.b64decode(re.search(r"base64,([^\"]+)", markup)[1]))[b"IHDR"]
    assert struct.unpack(">II", ihdr[:8]) == (3, 1)
    assert 'data-columns="[&#34;x&#34;, &#34;y&#34;, &#34;&lt;z&gt;&#34;]"' in markup


@pytest.mark.parametrize(("matrix", "names"), [([[1.0]], []), ([[1.0, 2.0]], ["a"]), ([[0.0]] * 2, ["a", "b"])])
def test_a_heatmap_of_another_shape_is_refused(matrix, names):
    """A matrix that is not square, or names of another number, can't be drawn."""
    with pytest.raises(ValueError, match="can't be drawn"):
        heat(matrix, names, "", limit=1.0)


@given(text=st.text(max_size=60))
def test_inert_text_is_printable_and_stays_as_it_is(text):
    """Whatever the text, what is shown is printable, and making it inert again changes nothing."""
    shown = inert(text)
    assert all(c.isprintable() for c in shown)
    assert inert(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" of", "\u2423of"),
        ("a b  ", "a b\u2423\u2423"),
        ("  ", "\u2423\u2423"),
        ("", "(empty)"),
        ("\n", "\\n"),
        ("the", "the"),
    ],
)
def test_spaces_at_the_ends_of_a_token_are_seen(text, shown):
    """A leading space makes another token; it and a blank token are seen on the page."""
    assert vega.token(text) == shown


def test_labels_leave_out_what_would_overlap():
    """Points far apart are all labelled; of many on one spot at most the four places around it are."""
    size = {"across": (0.0, 1.0), "up": (0.0, 1.0), "size": (300, 200)}
    apart = [{"x": v, "y": v, "label": f"w{v}"} for v in (0.1, 0.5, 0.9)]
    assert len(vega.labels(apart, **size)) == 3
    heap = [{"x": 0.5, "y": 0.5, "label": f"word{i}"} for i in range(20)]
    assert 1 <= len(vega.labels(heap, **size)) <= 4
    on_the_line = vega.labels([{"x": 0.5, "y": 0.5, "label": "word"}], **size, line=0.5)
    assert on_the_line[0]["mark"]["dy"] != 0


def test_noise_curve_has_the_mass_of_the_bars():
    """Bars and the normal curve are on one scale: the curve's area is one in units of a bin."""
    histogram = {"low": -1.0, "high": 1.0, "counts": [1] * 50, "below": 0, "above": 0}
    curve = vega.noise_curve(histogram, 0.0, 0.1, "noise")["data"]["values"]
    step = curve[1]["v"] - curve[0]["v"]
    assert math.fsum(row["share"] for row in curve) * step / (2 / 50) == pytest.approx(1, abs=1e-3)
    bars = vega.bars(histogram, "red", "x")[0]["data"]["values"]
    assert math.fsum(row["share"] for row in bars) == pytest.approx(1)


def test_a_missing_library_is_one_line(monkeypatch):
    """Without the library that draws, the message names the extra."""
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)
    with pytest.raises(UsageError, match=re.escape("pip install 'embcheck[html]'")):
        images.need_library()


def test_the_command_of_a_property_of_two_models_names_both():
    """What is about two models is measured again on both, each under its alias; a model in memory needs Python."""
    specs = {"a": "random:9x2", "demo": "demo", "memory": "memory"}
    models = [model(alias=alias, spec=spec, population=None) for alias, spec in specs.items()]
    near = result(id="near", params={"other": "demo"}, estimate=None)
    first, _, memory = (rows.command(report(*models, seed=3), each, near) for each in models)
    assert first == "embcheck check a=random:9x2 demo --property 'near[demo]' --seed 3"
    assert memory.startswith("embcheck.check(model, ")
