"""The section of a model card: what holds, a badge of counts alone, and its place in a file that says more."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt
from records import model, report, result

from embcheck.errors import EmbcheckError
from embcheck.reports import card

HOSTILE = "</details><img src=x>|`[a](http://b)\n\u202e<!-- embcheck: end -->"


def badge(*results):
    return re.search(
        r"!\[([^]]*)\]\(https://img\.shields\.io/badge/embcheck-([\w%]+)-(\w+)\)",
        card.markdown(report(model(*results))),
    ).groups()


def test_the_badge_says_how_many_claims_hold():
    """Counts and a colour: bright where all hold, red where a check fails; descriptions and n/a are not counted."""
    refuted, known = result("refuted", "fail", id="b"), result("refuted", "pass", id="b", expected=False)
    beside = result("not_applicable", id="c", estimate=None), result(id="d", kind="description")
    assert badge(result(), *beside) == ("embcheck: 1 of 1 claims hold", "1%20of%201%20claims%20hold", "brightgreen")
    assert badge(result(), refuted)[1:] == ("1%20of%202%20claims%20hold", "red")
    assert badge(result(), known)[1:] == ("1%20of%202%20claims%20hold", "yellow")
    assert badge(*beside)[2] == "lightgrey"


def test_what_does_not_hold_stands_open_and_what_holds_is_folded():
    """The section names its model, the refuted check with its value, and the others behind a click."""
    text = card.markdown(report(model(result(), result("refuted", "fail", id="far"), alias="m", spec="org/name")))
    assert text.startswith(card.BEGIN)
    assert text.endswith(card.END)
    assert text.index("| `far` | refuted | 0.75 [0.7, 0.8], n = 12 |") < text.index(
        "<summary>1 claim that holds</summary>"
    )
    assert "`org/name`, 10 x 4: 1 hold, 1 refuted." in text


def test_hostile_names_are_inert_in_a_card():
    """Names of models, checks, units and reasons make no image, link, row or end of the section of theirs."""
    bad = result("refuted", "fail", id=HOSTILE, sentence=HOSTILE, reason=HOSTILE, estimate=None)
    text = card.markdown(report(model(bad, alias=HOSTILE, spec=HOSTILE), model(result(), alias="b")))
    assert text.count(card.END) == 1
    rendered = MarkdownIt("commonmark").enable("table").render(text)
    assert rendered.count("<img") == text.count("img.shields.io") == 2
    assert "<a " not in rendered
    assert all(line.isprintable() for line in text.splitlines())
    assert HOSTILE not in "".join(re.findall(r"\(https[^)]*\)", text))


def test_a_section_takes_the_place_of_the_last_one(tmp_path):
    """A new file, one that says other things, and one that has a section: the rest stays byte by byte."""
    path = tmp_path / "README.md"
    first, second = report(model(result())), report(model(result("refuted", "fail")))
    card.write(first, path)
    assert path.read_text() == card.markdown(first) + "\n"
    path.write_text("---\nlicense: mit\n---\n# Mine\n\u00e9\n", encoding="utf-8")
    card.write(first, path)
    assert path.read_text(encoding="utf-8") == f"---\nlicense: mit\n---\n# Mine\n\u00e9\n\n{card.markdown(first)}\n"
    path.write_text(path.read_text(encoding="utf-8") + "\nbehind\n", encoding="utf-8")
    card.write(second, path)
    text = path.read_text(encoding="utf-8")
    assert text == f"---\nlicense: mit\n---\n# Mine\n\u00e9\n\n{card.markdown(second)}\n\nbehind\n"


@pytest.mark.parametrize("text", [card.BEGIN, card.END, f"{card.END} {card.BEGIN}"])
def test_half_a_section_is_refused(tmp_path, text):
    """A file with one of the two comments, or both the wrong way round, is left as it is, in one line."""
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(EmbcheckError, match="it needs both"):
        card.write(report(model(result())), path)
    assert path.read_text() == text
