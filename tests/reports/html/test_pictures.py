"""Pictures of results that a run of one model does not have: several models, published figures, baselines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from msgspec.structs import replace
from records import claim, estimate, model, null, result

from embcheck.checks.record import Change, ResultRecord
from embcheck.reports.html import pictures
from embcheck.reports.html.pictures import registry
from embcheck.reports.html.pictures.generic import moved

MEASURES = {
    "neighbor_overlap": "neighbor_overlap",
    "number_order": "order_agreement",
    "plural_direction_consistency": "offset_consistency",
    "positive_cosine_bias": "non_negative_share",
    "reproduces_published_figures": "published_deviation",
}


def made(name: str, value: float = 0.4, **changes: Any) -> ResultRecord:
    """A result of a property, by the measure that the shipped one of that name calls."""
    ends = (value, value) if value != 0.4 else (0.3, 0.5)
    about = {
        "estimate": estimate(value, *ends, measure=MEASURES.get(name, "")),
        "claims": (claim("above", 0.1),),
        "nulls": (null("shuffled", 0.0),),
    }
    return result(id=name, **{**about, **changes})


def shown(alias: str, index: int, record: ResultRecord) -> pictures.Shown:
    return pictures.Shown(alias, index, (1_000 * 10**index, 10), record)


def tips(figure: pictures.Figure) -> list[str]:
    """What the marks of a picture say."""
    return [e.attrib["data-tip"] for e in ET.fromstring(str(figure.body)).iter() if "data-tip" in e.attrib]  # noqa: S314


def test_overlap_is_a_matrix_of_models():
    """Each two models have a cell on either side of the diagonal that says their overlap."""
    values = {("a", "b"): 0.1, ("a", "c"): 0.2, ("b", "c"): 0.3}
    found = [
        shown(a, i, made("neighbor_overlap", v, params={"other": b})) for i, ((a, b), v) in enumerate(values.items())
    ]
    (figure,) = pictures.draw_together(found)
    said = tips(figure)
    for (a, b), v in values.items():
        assert f"{a} and {b}: {v}" in said
        assert f"{b} and {a}: {v}" in said
    assert pictures.draw_each(found[0]) == []


def test_words_on_which_two_models_agree():
    """The words of largest and of smallest overlap stand with their numbers."""
    record = made(
        "neighbor_overlap",
        params={"other": "b"},
        details={"highest": [{"token": "king", "value": 0.75}]},
        counterexamples=({"token": " bank", "value": 0.0},),
    )
    (figure,) = pictures.draw_each(shown("a", 0, record))
    assert tips(figure) == ["king: 0.75", "\u2423bank: 0"]


def test_published_figures_are_marked():
    """Each published figure stands with ours and its tolerance."""
    entry = {"figure": "min", "ours": -0.21, "published": -0.2, "tolerance": 0.02, "within": True}
    (figure,) = pictures.draw_each(
        shown("m", 0, made("reproduces_published_figures", details={"published_figures": [entry]}))
    )
    assert "min: -0.21, published -0.2 +- 0.02" in tips(figure)


@pytest.mark.parametrize(("models", "drawn"), [(2, 0), (3, 1)])
def test_share_against_size_needs_three_models(models, drawn):
    """From three models on, the share is drawn against the size of the matrix."""
    found = [shown(f"m{i}", i, made("positive_cosine_bias")) for i in range(models)]
    figures = pictures.draw_together(found)
    assert len(figures) == drawn
    for figure in figures:
        assert {f"m{i}: 0.4, {1000 * 10**i:,} x 10" for i in range(models)} <= set(tips(figure))


def test_a_property_of_ones_own_has_a_picture():
    """What has no picture shows its histogram, and its interval beside bounds and nulls."""
    histogram = {"low": 0.0, "high": 3.0, "counts": [1, 0, 3]}
    bars, interval = pictures.draw_each(shown("m", 0, made("mine", details={"lengths": histogram})))
    assert tips(bars) == ["0 to 1: 25%", "1 to 2: 0%", "2 to 3: 75%"]
    assert {"measured: 0.4", "interval: 0.3 to 0.5", "shuffled: 0", "above 0.1"} <= set(tips(interval))


SMALL = {
    "surface_variant_auc": ({"mean_cosine": {"variants": 0.7, "unrelated": 0.3}, "words": 4}, "variants: 0.7"),
    "hierarchy_orthogonality": ({"kinds": [{"token": "fish < animal", "cosine": -0.2}]}, "fish < animal: -0.2"),
    "last_digit_accuracy": ({"right_by_digit": {"0": 0.8, "1": 0.4}}, "1: 0.4"),
    "residue_power": ({"periods": {"10": {"times": 3.5, "p_value": 0.1}}}, "period 10: 3.5"),
    "script_accuracy": (
        {"accuracy": {"CJK": 0.8}, "taken_for": {"CJK": {"CJK": 3, "GREEK": 1}, "GREEK": {"GREEK": 2}}},
        "CJK: 0.8",
    ),
    "matrix_alignment": ({"quantiles": {"5%": -0.1, "50%": 0.2}}, "50%: 0.2"),
    "profile_agreement": ({"agreement": {"kendall": {"auc": 0.9}}}, "kendall: 0.9"),
    "middle_men": ({"effective_neurons": {"related_rotated": 30.5}}, "related rotated: 30.5"),
    "coordinate_share": (
        {"coordinates": [{"coordinate": 7, "share": 0.5, "mean": 0.1}], "expected_if_even": 0.3},
        "coordinate 7: 0.5",
    ),
    "kept_neighbors": ({"by": "int8", "neighbors": 10, "kept_by_others": {"signs": 0.6}}, "signs: 0.6"),
}


@pytest.mark.parametrize("measure", SMALL)
def test_bars_say_their_numbers(measure):
    """Measures of a few named numbers draw a bar each, which says its name and number."""
    details, said = SMALL[measure]
    first, *_ = pictures.draw_each(shown("m", 0, made("mine", estimate=estimate(measure=measure), details=details)))
    assert said in tips(first)


def test_the_closing_table_of_the_analogies():
    """Of each analogy on each model a row: cosines with target and first word, ranks, and the angle of the offsets."""
    details = {
        "words": ["king", "man", "woman", "queen"],
        "cosines_raw": {"king": 0.75, "queen": 0.25},
        "rank_among_candidates": {"raw": 2, "unit": 1, "candidates": 14},
        "rank_with_sources_kept": 3,
        "angle_degrees": 76.5,
    }
    of = {"estimate": estimate(measure="analogy_rank"), "params": {"analogy": "king"}, "details": details}
    (figure,) = pictures.draw_together([shown(name, 0, made("analogy_rank", **of)) for name in ("a", "<b>")])
    cells = [[cell.text for cell in row] for row in ET.fromstring(str(figure.body)).iter("tr")]  # noqa: S314
    assert cells[1:] == [
        ["king - man + woman", alias, "queen", "0.25", "0.75", "3", "2 of 14", "76.5"] for alias in ("a", "<b>")
    ]


def test_what_the_value_projection_favours_is_a_table():
    """The tokens that a word's value projection favours, by cosine and by product, spaces visible."""
    nearest = {"by_cosine": [{"token": " royal"}], "by_dot": [{"token": "crown"}]}
    details = {"agreement": {"kendall": {"auc": 0.9}}, "favoured": {"words": {"king": nearest}, "reason": None}}
    of = made("mine", estimate=estimate(measure="profile_agreement"), details=details)
    body = str(pictures.draw_each(shown("m", 0, of))[-1].body)
    assert [text in body for text in ("king", "\u2423royal", "crown")] == [True] * 3


def test_frequency_is_drawn_against_its_prediction():
    """Each word is a point at its log frequency and what the vectors predict, beside the line where both are one."""
    details = {
        "source": "counts",
        "points": {"tokens": [" the", "<b>"], "log_frequency": [-1, -3], "predicted": [-2, 0]},
    }
    (figure,) = pictures.draw_each(
        shown("m", 0, made("mine", estimate=estimate(measure="frequency_r2"), details=details))
    )
    *words, same = tips(figure)
    assert words == ["\u2423the: log frequency -1, predicted -2", "<b>: log frequency -3, predicted 0"]
    assert same == "predicted as it is"
    assert [(end["x"], end["y"]) for end in figure.content["layer"][1]["data"]["values"]] == [(-3, -3), (-1, -1)]


def test_equal_tokens_are_drawn_and_named():
    """Groups of equal rows are bars by size, and rows of a table with their tokens; without any, that is said."""
    group = {"rows": 3, "ids": [4, 9, 11], "tokens": [" a", "<b>", "\x1b|"]}
    of = {"estimate": estimate(measure="equal_rows")}
    bars, table = pictures.draw_each(shown("m", 0, made("mine", **of, details={"groups": 1, "largest": [group]})))
    assert tips(bars) == ["1. \u2423a = <b> = \\x1b|: 3"]
    cells = [[cell.text for cell in row] for row in ET.fromstring(str(table.body)).iter("tr")]  # noqa: S314
    assert cells[1] == ["1.", "3", "\u2423a, <b>, \\x1b|", "4, 9, 11"]
    (none,) = pictures.draw_each(shown("m", 0, made("mine", **of, details={"groups": 0, "largest": []})))
    assert "measured: 0.75" in tips(none)


def test_every_picture_is_documented():
    """The documentation lists the pictures of each measure in their order, and no other measure."""
    page = (Path(__file__).parents[3] / "docs" / "report.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE))
    drawn = {}
    for name, functions in (*registry._EACH.items(), *registry._TOGETHER.items()):
        drawn.setdefault(name, []).extend(function.__doc__.splitlines()[0].rstrip(".") for function in functions)
    kept = {name: "; ".join(said) for name, said in drawn.items() if name not in {registry.EVERY, registry.LADDER}}
    assert listed == kept


def test_pictures_hang_on_the_measure():
    """A property of another name that calls a measure has the pictures of that measure."""
    details = {"words": ["one", "two"], "matrix": [[1.0, 0.5], [0.5, 1.0]]}
    measured = estimate(0.4, 0.3, 0.5, measure="order_agreement")
    (shipped,) = pictures.draw_each(shown("m", 0, made("number_order", details=details)))
    (own,) = pictures.draw_each(shown("m", 0, made("digits_in_a_row", details=details, estimate=measured)))
    assert own == shipped
    assert "one, two: 0.5" in tips(own)
    _, generic = pictures.draw_each(shown("m", 0, made("digits_in_a_row", details=details)))
    assert "measured: 0.4" in tips(generic)


def test_offsets_of_other_pairs_are_not_called_plurals():
    """Only the property about plurals says so of its pairs."""
    details = {"pairs": ["a>b", "c>d"], "matrix": [[1.0, 0.5], [0.5, 1.0]]}
    of = {"details": details, "estimate": estimate(measure="offset_consistency")}
    (plural,) = pictures.draw_each(shown("m", 0, made("plural_direction_consistency", **of)))
    (other,) = pictures.draw_each(shown("m", 0, made("genders", **of)))
    assert "(plural minus singular)" in plural.caption
    assert "(second word minus first)" in other.caption


def domains(figure: pictures.Figure, axis: str) -> set[tuple[float, float]]:
    """The ends of an axis, as the layers of a chart give them."""
    channels = [layer["encoding"][axis] for layer in figure.content["layer"] if axis in layer["encoding"]]
    return {tuple(channel["scale"]["domain"]) for channel in channels if "domain" in channel.get("scale", {})}


def test_models_side_by_side_share_their_axes():
    """The same check on two models is drawn on axes that hold the numbers of both; one model alone on its own."""
    histograms = ({"low": -0.1, "high": 0.1, "counts": [1, 1]}, {"low": 0.0, "high": 2.0, "counts": [0, 4]})
    pair = [shown(f"m{i}", i, made("mine", details={"cosines": each})) for i, each in enumerate(histograms)]
    bars = pictures.draw_beside(pair)[:2]
    assert [domains(figure, "x") for figure in bars] == [{(-0.1, 2.0)}] * 2
    assert [domains(figure, "y") for figure in bars] == [{(0.0, 1.0)}] * 2
    assert domains(pictures.draw_each(pair[0])[0], "x") == set()


def test_lengths_keep_the_unit_of_their_matrix():
    """Lengths of rows are in a unit of the matrix's own: their axis is not shared, that of the shares is."""
    about = {"chi": {"scale": 0.1, "variation_of_noise": 0.1}}
    lengths = [{"low": 0.0, "high": high, "counts": [1, 1]} for high in (0.1, 90.0)]
    measured = estimate(measure="constant_length_share")
    pair = [
        shown(f"m{i}", i, made("mine", estimate=measured, details=about | {"norm_histogram": each}))
        for i, each in enumerate(lengths)
    ]
    figures = pictures.draw_beside(pair)
    assert [domains(figure, "x") for figure in figures] == [set()] * 2
    assert len(domains(figures[0], "y")) == 1
    assert domains(figures[0], "y") == domains(figures[1], "y")


def test_colours_mean_the_same_beside_each_other():
    """The same share of negative cosines has the same colour on each model's grid: a model of noise is all alike."""
    by_share = [{"a": 0.1, "b": 0.9}, {"a": 0.5, "b": 0.5}]
    grids = [
        shown(
            f"m{i}",
            i,
            made(
                "ascii",
                estimate=estimate(measure="negative_share_difference"),
                details={
                    "class_mean": 0.5,
                    "by_token": [{"id": 0, "token": name, "negative_share": value} for name, value in shares.items()],
                },
            ),
        )
        for i, shares in enumerate(by_share)
    ]
    tiles = [figure.content["layer"][0]["data"]["values"] for figure in pictures.draw_beside(grids)]
    assert [[tile["share"] for tile in each] for each in tiles] == [[1.0, 0.0], [0.5, 0.5]]


def test_what_lies_off_the_picture_is_an_arrow():
    """A change of more than five margins ends at the picture's edge with an arrow; the tip says the number."""
    change = {"state": "regressed", "passes": False, "margin": 0.02, "before": 0.5, "after": 0.1}
    far, near = (
        made(name, change=Change(value=value, low=value, high=value, **change))
        for name, value in (("far", -0.4), ("near", -0.04))
    )
    (figure,) = moved("m", ((each.label, each.change) for each in (far, near)))
    marks = {row["y"]: (row["v"], row["shape"]) for row in figure.content["layer"][-1]["data"]["values"]}
    assert marks == {"far": (-5.0, "triangle-left"), "near": (-2.0, "circle")}


def test_changes_stand_in_margins():
    """Old against new: each compared check, the largest change first; what was not compared is left out."""
    change = Change(
        state="regressed", passes=False, value=-0.06, low=-0.08, high=-0.04, margin=0.02, before=0.5, after=0.44
    )
    compared = model(
        made("one", change=replace(change, state="match", value=0.001, low=0.0, high=0.002)),
        made("two", change=change),
        made("three", change=replace(change, value=None)),
        made("four"),
    )
    (figure,) = moved("m", ((each.label, each.change) for each in compared.results))
    names = re.findall(r">(one|two|three|four)<", str(figure.body))
    assert names == ["two", "one"]
    assert "two: regressed, from 0.5 to 0.44" in tips(figure)
    assert list(moved("m", [("four", None)])) == []
