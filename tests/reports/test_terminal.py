from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from records import claim, estimate, model, null, report, result

from embcheck.checks.record import Change, Control, Ladder, Rung
from embcheck.reports import summary, terminal
from embcheck.reports.text import columns
from embcheck.reports.wording import bound_text, change_text


def text(*results, show="rows", **about):
    return "\n".join(line.text for line in terminal.lines(report(model(*results, **about)), show=show))


def test_header_says_what_the_claims_are_about():
    """The header gives shape, dtype, population and what was left out."""
    assert text(result()).startswith("m: 10 x 4 float32  population known: 8 rows  (left out: 2 special)\n")


def test_what_holds_has_a_row_and_no_details():
    """A check that holds shows value, interval, n, unit and bound, and nothing else."""
    rows = text(result()).splitlines()
    assert rows[1] == "holds         toy  0.75 [0.7, 0.8]  n = 12 toys  above 0.5"
    assert rows[2:] == ["", "1 hold"]


def test_exact_values_say_so():
    """A value without uncertainty says exact in place of an interval."""
    assert "0.75 (exact)" in text(result(estimate=estimate(0.75, 0.75, 0.75, exact=True)))


def test_failures_come_first():
    """Whatever fails stands above what does not hold but passes, and that above what holds."""
    rows = [result(), result("skipped", estimate=None, reason="few"), result("refuted", "fail")]
    shown = [line.split()[0] for line in text(*rows).splitlines() if line and not line.startswith(" ")]
    assert shown[1:4] == ["REFUTED", "skipped", "holds"]


def test_counts_name_every_verdict():
    """The last line counts the verdicts."""
    rows = [result(), result("refuted", "fail"), result("inconclusive", "fail"), result("skipped", estimate=None)]
    assert text(*rows, result("error", "fail", estimate=None), show="none") == (
        "3 of 5 checks fail: 1 hold, 1 refuted, 1 inconclusive, 1 skipped, 1 error"
    )


def test_what_a_model_cannot_have_is_none_of_the_checks_that_fail():
    """The last line says how many of the checks fail, without those that are n/a, and so do Markdown and Python."""
    rows = [result(), result("refuted", "fail"), result("not_applicable", estimate=None, reason="no layers")]
    assert text(*rows, show="none") == "1 of 2 checks fails: 1 hold, 1 refuted, 1 n/a"
    assert summary.markdown(report(model(*rows))).startswith("### embcheck: 1 of 2 checks fails\n")


def test_the_last_line_fits_however_much_it_counts():
    """Of many verdicts and states the counts are wrapped at 80 columns."""
    states = ("regressed", "undecided", "stale", "new", "improved")
    changes = [result("refuted", "fail", change=Change(state=state, passes=False)) for state in states]
    others = [result(), *(result(v, "fail") for v in ("inconclusive", "skipped", "error")), result(expected=False)]
    lines = text(*changes * 30, *others * 30, show="none").splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(("holds", "says"), [(0, "2 of 2"), (20, "1 of 2")])
def test_what_the_control_found_is_said_in_one_line(holds, says):
    """However little is shown, one line says of how many claims random tables do not hold."""
    controlled = result(outcome="fail" if holds else "pass", control=Control(20, 9, holds, vacuous=holds > 2))
    shown = text(controlled, result(control=Control(20, 9, 0, vacuous=False)), show="none").splitlines()
    assert shown[0] == f"control: {says} claims fail on noise as they should"


def test_what_holds_on_noise_too_reads_vacuous():
    """A vacuous claim is called so where its verdict stands, and is not counted with what holds."""
    vacuous = result(outcome="fail", control=Control(20, 9, 20, vacuous=True), reason="vacuous: it also holds")
    shown = text(vacuous).splitlines()
    assert shown[1].startswith("VACUOUS       toy ")
    assert shown[-1] == "1 of 1 check fails: 1 vacuous"
    assert "| vacuous |" in summary.markdown(report(model(vacuous)))


def test_vacuous_and_known_exceptions_are_counted():
    """Known exceptions and vacuous checks are told apart from the rest."""
    vacuous = result(outcome="fail", control=Control(20, 9, 20, vacuous=True))
    known = result("refuted", expected=False)
    assert text(vacuous, known, show="none").endswith("2 checks fails: 1 vacuous, 1 known exception")


def test_strongest_null_is_named_with_its_p_value():
    """Of the nulls to beat, the row names the one that came closest."""
    claims = tuple(claim("beats", 0.01, null=name) for name in ("weak", "strong"))
    nulls = (null("weak", 0.1, 0.0001), null("strong", 0.2, 0.005))
    assert "beats strong: p = 0.005" in text(result(claims=claims, nulls=nulls))


def test_sentence_is_said_once_a_property():
    """Several failing cases of one property spell its claim out once."""
    rows = [result("refuted", "fail", params={"size": size}) for size in (1, 2)]
    assert text(*rows).count("says: Everything is a toy.") == 1


def test_model_that_failed_to_load_says_so():
    """A model without a population was not loaded, and its checks give the reason."""
    shown = text(result("error", "fail", estimate=None, reason="bad file"), population=None, shape=None)
    assert "m: not loaded" in shown
    assert "why: bad file" in shown


@pytest.mark.parametrize(
    ("changes", "style"),
    [
        ({}, "pass"),
        ({"verdict": "refuted", "outcome": "fail"}, "fail"),
        ({"verdict": "inconclusive", "outcome": "fail"}, "warn"),
        ({"verdict": "skipped", "estimate": None}, "warn"),
        ({"verdict": "refuted", "expected": False}, "dim"),
    ],
)
def test_styles_follow_the_outcome(changes, style):
    """Rows are styled by what they mean, so that any front end can colour them."""
    lines = terminal.lines(report(model(result(**changes))))
    assert lines[1].style == style


@given(
    st.text(st.characters(), max_size=60),
    st.text(st.characters(), max_size=200),
    st.floats(),
    st.sampled_from(["utf-8", "ascii"]),
)
def test_no_line_is_wider_than_80_columns(token, reason, value, encoding):
    """Whatever tokens, names and reasons hold, lines stay within 80 columns and the terminal's encoding."""
    worst = ({"id": 3, "token": token, "value": None if math.isnan(value) else value, "pair": [token, token]},)
    about = {"params": {"word": token}, "counterexamples": worst, "details": {"summary": reason}}
    row = result("refuted", "fail", reason=reason or None, **about)
    for line in terminal.lines(report(model(row, alias=token or "m")), show="all", encoding=encoding):
        assert columns(line.text) <= 80
        assert line.text.isprintable()
        line.text.encode(encoding)


def test_describe_has_everything_about_one_check():
    """One check alone shows its sentence, method, seed and worst tokens."""
    row = result("refuted", "fail", counterexamples=({"id": 1, "token": "a", "value": 0.5},))
    shown = "\n".join(line.text for line in terminal.describe(row, 7))
    for part in ("REFUTED", "says: Everything is a toy.", "95% interval by t  seed 7", "worst: 'a' #1 0.5"):
        assert part in shown


def test_bounds_in_words():
    """Every kind of bound has a wording."""
    assert bound_text(claim("within", 0.49, 0.51)) == "within 0.49 to 0.51"
    assert bound_text(claim("within", 0.49, 0.51, null="independence")) == "within 0.49 to 0.51 (independence)"
    assert bound_text(claim("within", None, None, null="independence")) == "agrees with independence"
    assert bound_text(claim("beats", 0.01, null="shuffled")) == "beats shuffled at p <= 0.01"
    assert bound_text(claim("beats", 0.01, null="n", side="below")) == "lies below n at p <= 0.01"
    assert bound_text(claim("below", 11)) == "below 11"


# --- several checks of one property -----------------------------------------------------------------------------


def sizes(*values, verdict="holds", **about):
    """A toy of each of these values, in order of their sizes."""
    given = {"claims": (claim("above", 0.1, verdict=verdict),), "verdict": verdict, **about}
    return [
        result(params={"size": str(i)}, estimate=estimate(value, value, value), **given)
        for i, value in enumerate(values)
    ]


def test_a_property_is_one_row():
    """Checks of one property share a row: how many hold, their values in order, the bound that they share."""
    rows = text(*sizes(1, 2, 0.25)).splitlines()
    assert rows[1:3] == ["holds         toy  3 of 3 hold  0: 1  1: 2  2: 0.25  above 0.1", ""]


def test_show_all_gives_each_check_its_row():
    """With every detail, each check has its parameters and its own row."""
    shown = text(*sizes(1, 2), show="all")
    assert ("toy[0]  1 (exact)" in shown, "toy[1]  2 (exact)" in shown, "2 of 2" in shown) == (True, True, False)


def test_what_fails_has_its_own_row_and_details():
    """A failing check of a property stands above the row of those that hold, which says how many there are in all."""
    rows = [*sizes(1, 2), result("refuted", "fail", params={"size": "9"}, estimate=estimate(0, 0, 0))]
    shown = text(*rows)
    assert "REFUTED       toy[9]  0 (exact)" in shown
    assert "says: Everything is a toy." in shown
    assert "holds         toy  2 of 3 hold  0: 1  1: 2  above 0.1" in shown
    assert shown.index("toy[9]") < shown.index("2 of 3 hold")


def test_a_row_counts_those_with_a_verdict():
    """Known exceptions share a row of their own, and what is n/a counts nowhere."""
    away = result("not_applicable", params={"size": "7"}, estimate=None, reason="no such words")
    shown = text(*sizes(1, 2), *sizes(0, 0, verdict="refuted", expected=False), away)
    assert "holds         toy  2 of 4 hold  0: 1  1: 2  above 0.1" in shown
    assert "refuted       toy (expected)  2 of 4 refuted  0: 0  1: 0  above 0.1" in shown


def test_what_moved_has_its_own_row():
    """A check that improved on its baseline is seen, whatever its property's others do."""
    moved = Change(
        state="improved", passes=True, value=1.0, low=1.0, high=1.0, before=1, margin=0.5, comparison="exact"
    )
    shown = text(*sizes(1, 2), *sizes(3, change=moved))
    assert ("2 of 3 hold" in shown, "moved 1 from 1" in shown) == (True, True)


def test_a_row_has_the_weakest_p_value_and_no_bound_that_is_not_shared():
    """Of several checks the largest p-value stands in the row; bounds that differ are left to each check's own."""
    rows = []
    for i, (bound, p_value) in enumerate([(0.1, 0.0001), (0.2, 0.004)]):
        claims = (claim("above", bound), claim("beats", 0.01, null="luck"))
        rows.append(result(params={"size": i}, claims=claims, nulls=(null("luck", 0.0, p_value),)))
    assert "toy  2 of 2 hold  0: 0.75  1: 0.75  beats luck: p <= 0.004\n" in text(*rows)


def test_what_a_measure_says_beside_its_numbers():
    """A remark stands behind the numbers; of several checks, with how many of them have it."""
    said = {"details": {"remark": "luck does as well"}}
    assert text(*sizes(1, **said)).splitlines()[1].endswith("above 0.1  luck does as well")
    assert "luck does as well (2 of 3)" in text(*sizes(1, 2, **said), *sizes(3))
    assert text(*sizes(1, 2, **said)).splitlines()[1].endswith("luck does as well")


def test_what_a_property_rests_on_is_said_once():
    """Where ladders agree one line says it for all; else each line names its parameters."""
    rung = Rung("mean", 0.5, 0.5, 0.5, suffices=True)
    mean, more = (Ladder(suffices, 0.51, "value", 9, 3, (rung,)) for suffices in ("mean", None))
    alike = text(*sizes(1, 2, ladder=mean))
    assert "rests on: an isotropic cloud with this mean gives the same\n" in alike
    differing = text(*sizes(1, 2, ladder=mean), result(params={"size": "z"}, ladder=more))
    assert "gives the same (0, 1)" in differing
    assert "more than an isotropic cloud with this mean (z)" in differing


def test_many_values_stay_within_80_columns():
    """The values of many checks are broken into lines."""
    lines = terminal.lines(report(model(*sizes(*(1 / (i + 3) for i in range(60)), details={"remark": "x" * 200}))))
    assert max(columns(line.text) for line in lines) <= 80
    assert "60 of 60 hold" in lines[1].text


def test_descriptions_stand_apart_at_the_end():
    """What describes has its verdict in a block behind the claims, and is counted apart; one that fails has not."""
    about = {"kind": "description", "id": "form"}
    shown = text(result("refuted", **about), result()).splitlines()
    assert shown[1].startswith("holds         toy")
    assert shown[2].startswith("descriptions")
    assert shown[3].startswith("refuted       form")
    assert shown[-1] == "1 hold, 1 described"
    failing = text(result("refuted", "fail", **about), result())
    assert failing.splitlines()[1].startswith("REFUTED       form")
    assert failing.endswith("1 hold, 1 refuted")


# --- a screen ---------------------------------------------------------------------------------------------------


def many(count, verdict="holds", outcome="pass"):
    """A check each of so many properties."""
    claims = (claim("above", 0.5, verdict=verdict),)
    worst = tuple({"token": f"word {i}", "id": i, "value": 0.1} for i in range(9))
    return [
        result(verdict, outcome, id=f"{verdict}_{i}", claims=claims, counterexamples=worst, reason=None)
        for i in range(count)
    ]


def test_a_model_that_holds_most_takes_a_screen():
    """Forty properties, of which five do not hold, take at most 25 lines: these first, the others in one paragraph."""
    shown = text(*many(35), *many(5, "refuted", "fail")).splitlines()
    assert len(shown) <= 25
    assert shown[1].startswith("REFUTED       refuted_0")
    assert "holds: holds_0 0.75, holds_1 0.75," in "\n".join(shown)
    assert "holds_34 0.75" in "\n".join(shown)


def test_more_is_said_of_few_problems_than_of_many():
    """One problem comes with its claim and its worst tokens; of thirty there are the rows, and of some beside rows."""
    assert "worst: 'word 0' #0 0.1" in text(*many(1, "refuted", "fail"))
    shown = text(*many(30, "refuted", "fail"))
    assert shown.count("REFUTED") == 30
    assert "worst" not in shown
    shown = text(*many(100), *many(5, "refuted", "fail"))
    assert ("REFUTED       refuted_4" in shown, "says" in shown) == (True, False)


def test_checks_of_a_property_that_fail_alike_share_a_row():
    """Failing checks of one property are one row, with the parameters of those that fail."""
    rows = [result("refuted", "fail", params={"size": size}) for size in (1, 2)]
    assert "REFUTED       toy  2 of 3 refuted  1: 0.75  2: 0.75" in text(*rows, result(params={"size": 3}))


def test_show_fail_has_what_needs_looking_at_and_nothing_else():
    """With ``fail`` there is no word of what holds, is not about the model, or only describes."""
    away = result("not_applicable", id="away", estimate=None, reason="no such words")
    described = result("refuted", id="described", kind="description")
    shown = text(*many(2), *many(1, "refuted", "fail"), away, described, show="fail")
    assert "REFUTED       refuted_0" in shown
    assert not [word for word in ("holds_0", "away", "described  ") if word in shown]


def test_a_row_says_what_was_measured_and_a_short_one_is_a_line():
    """A result that has just come is shown by its numbers; beside others of several models, by one line of them."""
    row = result(details={"remark": "luck does as well, and so do many other things"})
    assert [line.text for line in terminal.row(row)] == [
        "holds         toy  0.75 [0.7, 0.8]  n = 12 toys  above 0.5",
        "              luck does as well, and so do many other things",
    ]
    assert len(terminal.row(row, is_short=True)) == 1
    assert terminal.row(result("refuted", kind="description"))[0].text.startswith("refuted       toy (describes)  0.75")
    long = terminal.row(result(params={"of": "x" * 70}), is_short=True)
    assert "0.75 [0.7, 0.8]" in long[0].text


def test_what_was_streamed_is_not_said_again():
    """After each result was shown as it came, what needs looking at follows, and the counts."""
    written = report(model(*many(2), *many(1, "refuted", "fail")))
    shown = [line.text for line in terminal.lines(written, streamed=True)]
    assert shown[:3] == [
        "",
        "what needs looking at:",
        "REFUTED       refuted_0  0.75 [0.7, 0.8]  n = 12 toys  above 0.5",
    ]
    assert "holds_0" not in "\n".join(shown)


def test_several_models_are_a_table():
    """A row for each property and a column for each model; then, by model, what needs looking at."""
    one = model(*many(2), *sizes(1, 2), alias="one")
    two = model(
        *many(1), *many(1, "refuted", "fail"), *sizes(1), *sizes(0, verdict="refuted", expected=False), alias="two"
    )
    shown = [line.text for line in terminal.lines(report(one, two))]
    assert shown[:5] == [
        "                                         one             two",
        "holds_0                                 0.75            0.75",
        "holds_1                                 0.75               -",
        "refuted_0                                  -    REFUTED 0.75",
        "toy                                   2 of 2          1 of 2",
    ]
    after = "\n".join(shown[5:])
    assert after.index("one: 10 x 4") < after.index("two: 10 x 4") < after.index("REFUTED       refuted_0")


def test_many_models_stay_within_80_columns():
    """A table of twelve models is in blocks that fit."""
    models = [model(*many(2), *many(1, "refuted", "fail"), alias=f"model-of-a-long-name-{i}") for i in range(12)]
    lines = terminal.lines(report(*models))
    assert max(columns(line.text) for line in lines) <= 80
    assert sum(line.text.startswith("holds_0") for line in lines) == 3


# --- what fails, and why ----------------------------------------------------------------------------------------


def moved(state, *, passes=False, **about):
    """A change from 0.5 by -0.06, with a margin of 0.02."""
    numbers = {"value": -0.06, "low": -0.08, "high": -0.04, "before": 0.5, "after": 0.44, "margin": 0.02}
    return Change(**{"state": state, "passes": passes, "comparison": "paired", "n": 145, **numbers, **about})


def test_each_check_counts_once_and_as_its_row_says():
    """A regressed claim, an undecided exception and a refuted claim are counted by what they fail for, worst first."""
    rows = [
        result("refuted", "fail", id="a_excused", expected=False, change=moved("undecided")),
        result("refuted", "fail", id="b_refuted"),
        result("refuted", "fail", id="c_regressed", change=moved("regressed")),
        result("refuted", "fail", id="d_described", kind="description", change=moved("undecided")),
        result("refuted", "fail", id="e_changes", by_change=True, change=moved("undecided")),
        result("refuted", id="f_known", expected=False),
        result(id="g_holds"),
    ]
    shown = text(*rows).splitlines()
    heads = [line[:26].rstrip() for line in shown if line[:1].isupper()]
    assert heads == [
        "REGRESSED     c_regressed",
        "REFUTED       b_refuted  0",
        "UNDECIDED     a_excused (r",
        "UNDECIDED     d_described",
        "UNDECIDED     e_changes (r",
    ]
    assert "c_regressed (refuted)  0.75" in "\n".join(shown)
    assert "a_excused (refuted, expected)  0.75" in "\n".join(shown)
    said = "5 of 7 checks fail: 1 hold, 1 regressed, 1 refuted, 3 undecided, 1 known exception"
    assert " ".join(text(*rows, show="none").split()) == said


def test_a_row_without_a_line_for_them_names_its_tokens():
    """However many problems there are, a refuted or regressed check says the first three tokens that it is so for."""
    zero = result("refuted", "fail", counterexamples=({"id": 1, "token": "king", "why": "zero"},))
    assert "such as 'king'" in text(zero, *many(30, "refuted", "fail"))
    assert "such as 'king'" in terminal.row(zero)[0].text
    assert "`king`" in summary.changed(report(model(structs.replace(zero, change=moved("regressed", moved=())))))


def test_what_is_worst_says_why_as_a_sentence_would():
    """The token with its row, then a colon and why, one reason or several; a count of one is in the singular."""
    entries = ({"id": 2332, "token": "king", "why": "zero"}, {"id": 5, "token": "'", "why": ["short", "near"]})
    shown = text(result("refuted", "fail", estimate=estimate(n=1), counterexamples=entries), show="all")
    assert """worst: 'king' #2332: zero  "'" #5: short, near""" in shown
    assert "n = 1 toy " in shown


def test_a_change_that_rounding_makes_is_none_in_words():
    """Less than a millionth of a millionth of margin or value is 0 in words; what is as small as that bound is said."""
    assert "moved 0 [-0.0001, 0.0001]" in change_text(moved("match", value=-2.776e-17, low=-1e-4, high=1e-4))
    assert "moved 1e-12" in change_text(moved("match", value=1e-12, low=1e-12, high=1e-12))


def test_a_change_over_shared_units_says_so():
    """Where the change is no difference of the two values, since some units are gone, it says of which it is."""
    assert "moved -0.06 [-0.08, -0.04] from 0.5" in change_text(moved("match"), "word pairs")
    said = change_text(moved("undecided", after=0.6, gone=("king>kings",)), "word pairs")
    assert said.startswith("moved -0.06 [-0.08, -0.04] over the 145 word pairs that both have, from 0.5 (paired;")


def test_what_applied_before_and_is_not_there_any_more_says_so_in_its_column():
    """A check that is n/a and fails says what for in its column, and why it is n/a, alone or several in a row."""
    stale = Change(state="stale", passes=False, reason="the baseline has a value")
    lost = [
        result("not_applicable", "fail", estimate=None, reason="no layers", change=stale, params={"size": size})
        for size in "ab"
    ]
    alone, several = text(lost[0]), text(*lost, result())
    assert "STALE         toy[a] (n/a)\n              why: no layers\n" in alone
    assert [line for line in several.splitlines() if line.startswith("STALE")] == [
        "STALE         toy[a] (n/a)",
        "STALE         toy[b] (n/a)",
    ]
    assert several.count("why: no layers") == 2
    assert "not_applicable" not in (alone + several + summary.markdown(report(model(*lost)))).lower()


def test_a_reason_that_a_change_repeats_is_said_once():
    """What can't be decided any more says why in the line on its change, and nowhere else."""
    stale = Change(state="stale", passes=False, reason="the baseline has a value, now: 3 of 4 words; adopt it")
    said = text(result("not_applicable", "fail", estimate=None, reason="3 of 4 words", change=stale))
    assert said.count("3 of 4 words") == 1


def test_a_change_on_another_scale_than_the_value_names_it():
    """A rank of 2 that moved by reciprocal ranks says so on the terminal and in Markdown; a share does not."""
    moved = Change(
        state="improved", passes=True, value=0.1, low=0.1, high=0.1, before=0.4, margin=0.05, comparison="exact"
    )
    ranked = estimate(2, 2, 2, exact=True, compared_as=("reciprocal rank, near ties in part", 0.5))
    for made, says in ((ranked, "from 0.4 in reciprocal rank (exact"), (estimate(), "from 0.4 (exact")):
        assert says in text(result(estimate=made, change=moved))
        assert says in summary.markdown(report(model(result(estimate=made, change=moved))))


@pytest.mark.parametrize("length", [20, 50, 52, 54, 57, 80, 200])
def test_no_label_stands_alone_whatever_it_names(length):
    """What is worst stands behind its label, cut where it is longer than the line, in full with every detail."""
    why = " ".join(["because"] * 40)[:length]
    failing = result("refuted", "fail", counterexamples=({"token": "a", "id": 1, "why": why}, {"token": "b", "id": 2}))
    shown, details = text(failing).splitlines(), text(failing, show="all")
    (worst,) = (line for line in shown if "worst:" in line)
    assert worst.startswith("              worst: 'a' #1: because")
    assert "worst: 'a' #1: because" in details
    assert why[:60].split()[-2] in details
    assert max(map(len, [*shown, *details.splitlines()])) <= 80
    assert worst.endswith("...") is (len(f"'a' #1: {why}") > 59)


def test_what_is_not_about_the_model_is_named_whatever_room_reasons_take():
    """Each property that is n/a is named, without its reason where the reasons take more than a line."""
    away = [
        result("not_applicable", id=f"away_{n}", estimate=None, reason=f"{n} of 40 words of some long list: no king")
        for n in range(6)
    ]
    told = text(result(), *away)
    assert "n/a: away_0, away_1, away_2, away_3, away_4, away_5\n" in told
    assert "1 hold, 6 n/a\n\n**m**" in summary.markdown(report(model(result(), *away)))
    assert "<summary>1 passing, 6 n/a</summary>" in summary.markdown(report(model(result(), *away)))


def test_what_is_cut_short_says_so():
    """Of a reason that takes more than three lines beside others, the third ends in dots."""
    reason = " ".join(f"word{n}" for n in range(60))
    lines = text(*(result("refuted", "fail", id=f"toy_{n}", reason=f"{n} {reason}") for n in range(5))).splitlines()
    firsts = [i for i, line in enumerate(lines) if line.startswith("              why: ")]
    assert firsts
    assert all(lines[i + 2].endswith("...") for i in firsts)
