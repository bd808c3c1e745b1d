"""The page as parsers see it: well-formed, self-contained, and inert whatever the tokens are."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata

import html5lib
import pytest
import records
from msgspec.structs import replace

from embcheck.checks.record import Change, Control
from embcheck.reports import html, json_file, summary, terminal
from embcheck.reports.html import asset, pictures
from embcheck.reports.html.pictures import registry

XHTML = "{http://www.w3.org/1999/xhtml}"


@pytest.fixture(scope="session")
def tree(page):
    return html5lib.HTMLParser(strict=True).parse(page)


def text_of(element):
    return " ".join("".join(element.itertext()).split())


def test_the_page_is_well_formed(tree):
    """A strict parser finds no error in the page, and every model and property in it."""
    assert tree.find(f"{XHTML}body") is not None
    assert text_of(tree.find(f".//{XHTML}h1"))


def test_tokens_make_no_elements(tree):
    """The page's one script is its own; there is no handler, no link but to itself, no image but data."""
    scripts = list(tree.iter(f"{XHTML}script"))
    assert [script.text for script in scripts] == [asset("script.js")]
    for element in tree.iter():
        if isinstance(element.tag, str):
            assert not [name for name in element.attrib if name.lower().startswith("on")], element.attrib
            assert element.get("href", "#").startswith("#")
            assert element.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
    assert "bold" not in {element.text for element in tree.iter(f"{XHTML}b")}


def test_the_page_asks_nothing_of_the_network(page):
    """Its policy forbids every request; its script is allowed by hash; no address stands in it but names of formats."""
    digest = base64.b64encode(hashlib.sha256(asset("script.js").encode()).digest()).decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}'" in policy
    named = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\s\"'<)]+", page)) <= named


def test_nothing_in_the_page_acts_on_who_reads_its_source(page):
    """The file holds no control character, bidi mark or lone surrogate, and can be written as UTF-8."""
    page.encode("utf-8")
    allowed = {"\n"}
    assert {c for c in set(page) - allowed if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}} == set()
    assert "x" * 2_001 not in page


def test_the_summary_gives_every_verdict(tree, report):
    """Under each model the summary says the verdict of each property of one check, and how many of several hold."""
    table = next(t for t in tree.iter(f"{XHTML}table") if t.get("class") == "summary")
    rows = [row for row in table.findall(f"{XHTML}tbody/{XHTML}tr") if row.find(f"{XHTML}td") is not None]
    refuted = {result.id for result in report.results if not result.passes and result.verdict == "refuted"}
    names = sorted({result.id for result in report.results}, key=lambda name: (name not in refuted, name))
    assert [text_of(row.find(f"{XHTML}th/{XHTML}a")) for row in rows] == names
    for row, name in zip(rows, names, strict=True):
        for cell, model in zip(row.findall(f"{XHTML}td"), report.models, strict=True):
            found = [result.verdict for result in model.results if result.id == name]
            if not found:
                assert text_of(cell) == "not checked"
                continue
            asked = [verdict for verdict in found if verdict != "not_applicable"]
            counted = f"{asked.count('holds')} of {len(asked)} hold" if len(found) > 1 else found[0]
            assert (counted if asked else "n/a") in text_of(cell)


def test_tables_say_what_their_cells_are_about(tree):
    """Every header cell has a scope, every table a caption, every picture a text."""
    for header in tree.iter(f"{XHTML}th"):
        assert header.get("scope") in {"row", "col", "rowgroup"}
    for table in tree.iter(f"{XHTML}table"):
        assert table.find(f"{XHTML}caption") is not None
    for drawn in (e for e in tree.iter() if isinstance(e.tag, str) and e.get("role") == "img"):
        assert (drawn.get("aria-label") or drawn.get("alt")).strip()


def test_every_picture_is_drawn(measured):
    """What is registered for a measure draws each of its measured results: nothing is missing without being said."""
    (model,) = measured.models
    drawn = set()
    for result in model.results:
        shown = pictures.Shown("m", 0, model.shape, result)
        if result.estimate is not None:
            assert pictures.draw_each(shown) or result.id == "semantic_axes"
            for function in registry._EACH.get(result.measure, ()):
                if list(function(shown)):  # which raises what it cannot draw; few have nothing to draw
                    drawn.add(function)
    axes = [pictures.Shown("m", 0, (9, 9), result) for result in model.results if result.id == "semantic_axes"]
    assert pictures.draw_together(axes)
    # for results that the catalogue has with more than one model, layers, or other data only: drawn in test_pictures
    waiting = {"published", "ladder", "input_and_output", "by_word", "ways_to_agree", "favoured", "neurons"}
    waiting |= {"variants", "right_angles", "last_digits", "periods", "scripts"}
    registered = {f for measure, functions in registry._EACH.items() if measure != registry.EVERY for f in functions}
    assert {function.__name__ for function in registered - drawn} <= waiting


def test_the_same_report_gives_the_same_page(measured, tmp_path):
    """The page is made from the JSON alone: what was written and read again gives the same bytes."""
    (model,) = measured.models
    few = replace(measured, models=(replace(model, results=model.results[-4:]),))
    json_file.write(few, tmp_path / "out.json")
    assert html.render(few) == html.render(json_file.read(tmp_path / "out.json"))


JUNK = [
    {},
    {"cosine_histogram": 3, "matrix": [[1]], "pairs": "ab", "words": None},
    {"cosine_histogram": {"low": 0, "high": 0, "counts": []}, "norm_histogram": {"low": 1, "high": 1, "counts": [0]}},
    {"matrix": [[0.0] * 401] * 401, "pairs": ["p"] * 401, "words": ["w"] * 401, "nearest": [{}], "by_token": [{}]},
    {"scree": {"component": [0], "share": ["x"], "noise": []}, "in_lists": [], "points": {}, "scatter": [1]},
]


@pytest.mark.parametrize("details", JUNK, ids=range(len(JUNK)))
def test_details_of_another_shape_cost_only_the_picture(measured, details):
    """Reports are untrusted: details that no measure gave leave a page without that picture, and no error."""
    (model,) = measured.models
    chosen = {result.id: replace(result, details=details) for result in model.results}
    text = html.render(replace(measured, models=(replace(model, results=tuple(chosen.values())),)))
    html5lib.HTMLParser(strict=True).parse(text)
    assert text.count("<section id=") == len(chosen)


def test_the_whole_catalogue_fits_two_megabytes(measured):
    """What pictures need is compact: the JSON of the whole catalogue on one model is under 2 MB."""
    assert len(json_file.dumps(measured)) < 2_000_000


def test_terminal_and_markdown_are_inert_too(report):
    """The same report shows no control character on a terminal, and makes no element as Markdown."""
    lines = terminal.lines(report, show="all")
    assert all(line.text.isprintable() for line in lines)
    text = summary.markdown(report)
    assert all(c.isprintable() for c in text.replace("\n", ""))
    elements = {e.tag for e in html5lib.parse(text).iter() if isinstance(e.tag, str)}
    known = ("html", "head", "body", "code", "details", "summary")
    assert elements <= {f"{XHTML}{name}" for name in known}


CHANGE = Change(
    state="regressed", passes=False, value=-0.06, low=-0.08, high=-0.04, margin=0.02, before=0.5, after=0.44
)
FAILING = {
    "a_holds": records.result(),
    "b_few": records.result("inconclusive", "fail", reason="19 of 20 needed"),
    "c_vacuous": records.result(outcome="fail", control=Control(20, 100, 9, vacuous=True)),
    "d_regressed": records.result(outcome="fail", change=CHANGE),
    "e_excused": records.result("refuted", expected=False),
    "f_undecided": records.result(outcome="fail", change=replace(CHANGE, state="undecided")),
    "g_refuted": records.result("refuted", "fail", counterexamples=({"id": 1, "token": "king", "value": 0.0},)),
    "h_excused": records.result("refuted", "fail", expected=False, change=replace(CHANGE, state="undecided")),
}


def test_the_first_screen_says_what_decides():
    """How many fail, and each that fails with its reason, the worst first; what passes is not among them."""
    results = [replace(result, id=name) for name, result in FAILING.items()]
    tree = html5lib.parse(html.render(records.report(records.model(*results))))
    outcome, problems = (
        next(e for e in tree.iter() if str(e.get("class")).startswith(name)) for name in ("outcome", "problems")
    )
    said = text_of(outcome)
    assert said.startswith("6 of 8 checks fail")
    for count in ("1 hold", "1 regressed", "2 change undecided", "1 vacuous", "1 refuted", "1 known exception"):
        assert count in said
    listed = [text_of(entry) for entry in problems]
    kinds = (
        "regressed d_",
        "vacuous c_",
        "refuted g_",
        "change undecided f_",
        "change undecided h_",
        "inconclusive b_",
    )
    assert [entry.startswith(kind) for entry, kind in zip(listed, kinds, strict=True)] == [True] * 6, listed
    assert "moved -0.06 [-0.08, -0.04] from 0.5" in listed[0]
    assert "holds on 9 of 20 random tables" in listed[1]
    assert "such as 'king'" in listed[2]
    assert "claimed above" not in listed[4]
    assert "19 of 20 needed" in listed[5]
    card = next(text_of(e) for e in tree.iter() if e.get("class") == "tally")
    assert card == "1 of 8 claims hold, 6 fail, 1 known exception"


def test_what_fails_is_said_with_its_numbers():
    """A null's p-value stands beside its level; of several checks each value has its parameter, in the order below."""
    beaten = records.claim("beats", 0.01, null="shuffled", verdict="refuted")
    luck = {"claims": (beaten,), "nulls": (records.null("shuffled", 0.5, 0.34),)}
    values = {"capital": 0.3, "plural": 0.1, "gender": 0.2}
    sized = [
        records.result("refuted", "fail", id="sized", params={"of": of}, estimate=records.estimate(value, value, value))
        for of, value in values.items()
    ]
    report = records.report(records.model(records.result("refuted", "fail", id="lucky", **luck), *sized))
    tree = html5lib.parse(html.render(report))
    listed = [text_of(e) for e in next(e for e in tree.iter() if e.get("class") == "problems")]
    assert listed[0].endswith("claimed beats shuffled at p <= 0.01 (p = 0.34)")
    assert listed[1].endswith("3: capital: 0.3, plural: 0.1, gender: 0.2")
    below = [text_of(e) for e in tree.iter() if e.get("scope") == "rowgroup"]
    assert below == ["of: capital", "of: plural", "of: gender"]
    assert "beats shuffled at p &lt;= 0.01 (p = 0.34)" in summary.markdown(report)


def test_a_check_that_regressed_is_not_green_alone():
    """Where a check holds but fails by its change, the word stands beside the verdict in summary and section."""
    tree = html5lib.parse(html.render(records.report(records.model(FAILING["d_regressed"]))))
    said = [text_of(e) for e in tree.iter() if e.get("class") in {"said", "v refuted"}]
    assert any(text.startswith("\u2713holds regressed") for text in said), said


def test_a_value_of_a_parameter_that_regressed_is_not_green():
    """Its mark in the summary is that of a failure, and says what became of it."""
    results = (replace(FAILING["d_regressed"], params={"of": "x"}), records.result(params={"of": "y"}))
    tree = html5lib.parse(html.render(records.report(records.model(*results))))
    marks = [e for e in tree.iter() if (e.get("href") or "").startswith("#") and e.get("data-tip")]
    assert [(e.get("class"), text_of(e)) for e in marks] == [
        ("refuted", "\u2717x regressed holds"),
        ("holds", "\u2713y holds"),
    ]


def test_the_first_screen_of_what_passes():
    """Where nothing fails the page says so, and lists no problem."""
    page = html.render(records.report(records.model(records.result())))
    assert "The one check passes</strong>" in page
    assert 'class="problems"' not in page


def test_a_run_that_ended_early_says_so():
    """Page and summary of what was measured before an interruption are not taken for the whole."""
    report = records.report(records.model(records.result()))
    early = replace(report, run=replace(report.run, partial=True))
    assert "The one check passes; the run ended early</strong>" in html.render(early)
    assert 'class="outcome fails"' in html.render(early)
    assert summary.markdown(early).startswith("### embcheck: 1 check passes; the run ended early")


def test_too_few_units_are_a_reason_in_the_row():
    """Where too few units decide, summary and section say how few, beside what was measured of them."""
    tree = html5lib.parse(html.render(records.report(records.model(FAILING["b_few"]))))
    tables = [e for e in tree.iter(f"{XHTML}table") if e.get("class") in {"summary", "forest"}]
    assert ["19 of 20 needed" in text_of(table) for table in tables] == [True, True]


def test_what_describes_stands_behind_what_is_claimed():
    """Descriptions have a heading of their own in the summary, the last sections, and are no part of what is held."""
    about = {"kind": "description", "id": "a_form"}
    page = html.render(records.report(records.model(records.result(), records.result("refuted", **about))))
    assert "<b>1</b> of 1 claims hold" in page
    assert "1 hold</p>" not in page
    assert page.count("1 described") == 2
    table = page[page.index('class="summary"') :]
    heading, claimed, described = (table.index(text) for text in ("Descriptions:", ">toy<", ">a_<wbr>form<"))
    assert claimed < heading < described
    sections = [page.index(f'<section id="{anchor}"') for anchor in ("p1", "p0")]
    assert sections == sorted(sections)
    assert "Descriptions:" not in html.render(records.report(records.model(records.result())))
