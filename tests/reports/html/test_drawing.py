"""One picture of a result: shown by itself, and saved as SVG or PNG."""

from __future__ import annotations

import re
import struct
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import vl_convert

import embcheck
from embcheck import EmbeddingTable, Estimate, NotMeasurable, above, claim, lexicons, measures
from embcheck.checks.picture import Picture
from embcheck.errors import EmbcheckError, UsageError
from embcheck.reports.html import images, palettes

HOSTILE = "</text><script>alert(1)</script>\x1b\u202e\ud800"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def run():
    """A histogram, what was not measured, and a heatmap, on a table with hostile tokens."""

    @claim(above(0.5))
    def toy(table):
        """Everything is a toy."""
        details = {"histogram": {"low": 0.0, "high": 1.0, "counts": [1, 2, 3], "below": 0, "above": 0}}
        return Estimate.from_units([0.70, 0.75, 0.80, 0.75], unit="toys", name=HOSTILE, details=details)

    @claim(above(0.5))
    def absent(table):
        """Something is never there."""
        raise NotMeasurable("no toys")

    @claim(above(0.05))
    def offsets(table, rng):
        """Offsets agree."""
        return measures.offset_consistency(table, *lexicons.relations("plural"), rng=rng)

    words = list(dict.fromkeys(lexicons.words()))
    vectors = np.random.default_rng(0).standard_normal((len(words), 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CI", raising=False)
        return embcheck.check(EmbeddingTable.from_arrays(vectors, words), properties=[toy, absent, offsets])


def test_a_picture_stands_by_itself_in_a_notebook(run):
    """``plot`` gives one picture, with its check's name and caption, in a fragment that sets its own colours."""
    fragment = run["toy"].plot()._repr_html_()
    assert fragment.count("<svg") == 1
    assert "toy, memory" in fragment
    assert "--paper" in fragment


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("check", ["toy", "offsets"])
def test_a_picture_is_saved_as_svg(run, tmp_path, check, theme):
    """A file of its own: well-formed, inert, on paper of the theme, every colour a number."""
    run[check].figure(tmp_path / "x.svg", theme=theme)
    text = (tmp_path / "x.svg").read_text(encoding="utf-8")
    root = ET.fromstring(text)  # noqa: S314 - it is what is under test
    assert root.tag == f"{SVG}svg"
    assert root[0].get("fill") == palettes()[theme]["paper"]
    assert "var(" not in text
    assert not list(root.iter(f"{SVG}script"))
    assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize("check", ["toy", "offsets"])
def test_a_saved_picture_says_what_it_shows(run, tmp_path, check):
    """What is claimed, check and model, and what colours mean stand in the file, and axes or cells have names."""
    run[check].figure(tmp_path / "x.svg")
    texts = ["".join(e.itertext()) for e in ET.parse(tmp_path / "x.svg").iter(f"{SVG}text")]  # noqa: S314 - ours
    (picture, *_) = run[check].pictures()
    whole = " ".join(texts)
    assert whole.startswith(f"{picture.claim} {run[check].check.label}, memory ")
    assert picture.claim.startswith(run[check].check.declaration.sentence)
    assert whole.endswith(picture.caption)
    assert ("histogram" if check == "toy" else "dog>dogs") in texts[2:]


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_a_saved_picture_is_inert(tmp_path, suffix):
    """Claim, title, caption and the names of a heatmap's rows may hold anything: the file is well-formed and inert."""
    body = images.heat([[1.0, 0.0], [0.0, -1.0]], [HOSTILE, "::error::|\n"], HOSTILE, limit=1.0)
    Picture(HOSTILE, HOSTILE, body, HOSTILE).save(tmp_path / f"x{suffix}")
    if suffix == ".svg":
        text = (tmp_path / "x.svg").read_text(encoding="utf-8")
        assert not list(ET.fromstring(text).iter(f"{SVG}script"))  # noqa: S314 - it is what is under test
        assert text.isprintable()
        assert text.count("&lt;script&gt;") == 3 + 2  # the name of a row and a column
        assert "::error::|\\n" in text


def test_a_picture_of_a_refuted_claim_does_not_state_it_as_a_fact(run):
    """Behind the sentence of a claim that does not hold stand the verdict, the value and the bound."""
    assert {each.claim for each in run["toy"].pictures()} == {"Everything is a toy."}
    estimate = run["offsets"].estimate
    numbers = rf"{estimate.value:.4g} \[{estimate.low:.4g}, {estimate.high:.4g}\]"
    for picture in run["offsets"].pictures():
        assert re.fullmatch(rf"Offsets agree\. \(refuted: {numbers}, claimed above 0\.05\)", picture.claim)


def test_pictures_are_listed_by_their_numbers(run):
    """``pictures`` has those that ``plot`` gives, one a number."""
    for check in ("toy", "offsets"):
        pictures = run[check].pictures()
        assert [run[check].plot(i).caption for i in range(len(pictures))] == [each.caption for each in pictures]
    assert run["absent"].pictures() == []


@pytest.mark.parametrize("check", ["toy", "offsets"])
def test_a_picture_is_saved_as_png(run, tmp_path, check):
    """A PNG of two pixels to one of the SVG, with more than one colour in it."""
    run[check].figure(tmp_path / "x.svg")
    run[check].figure(tmp_path / "x.png")
    root = ET.fromstring((tmp_path / "x.svg").read_text(encoding="utf-8"))  # noqa: S314
    image = (tmp_path / "x.png").read_bytes()
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", image[16:24]) == pytest.approx(
        [2 * float(root.get(k)) for k in ("width", "height")], abs=2
    )
    assert len(image) > 3_000


def test_a_png_has_its_words(run, tmp_path):
    """Words are drawn, whatever fonts the machine has: without them the PNG is another."""
    run["toy"].figure(tmp_path / "x.svg")
    run["toy"].figure(tmp_path / "x.png")
    wordless = re.sub(r"<text.*?</text>", "", (tmp_path / "x.svg").read_text(encoding="utf-8"))
    assert (tmp_path / "x.png").read_bytes() != vl_convert.svg_to_png(wordless, scale=2.0)


def test_wrong_names_are_refused_before_anything_is_written(run, tmp_path):
    """Another ending, theme, number or folder is an error in one line, and leaves no file."""
    for call, error, says in (
        (lambda: run["toy"].figure(tmp_path / "x.pdf"), UsageError, "ends in .svg or .png"),
        (lambda: run["toy"].figure(tmp_path / "x.svg", theme="sepia"), UsageError, "theme must be 'light' or 'dark'"),
        (lambda: run["toy"].figure(tmp_path / "x.svg", 9), UsageError, "toy has 2 pictures, numbered from 0; got 9"),
        (lambda: run["toy"].figure(tmp_path / "none" / "x.svg"), EmbcheckError, "none"),
        (run["absent"].plot, NotMeasurable, "absent has no picture: no toys"),
    ):
        with pytest.raises(error, match=says):
            call()
    assert not list(tmp_path.iterdir())


def test_without_the_library_that_draws_there_is_a_way_out(run, monkeypatch):
    """Without the extra the error names it."""
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UsageError, match=r"pictures need the extra html: pip install 'embcheck\[html\]'"):
        run["toy"].plot()
