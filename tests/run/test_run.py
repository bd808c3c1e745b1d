"""A run as a value: how a person finds one result in it, takes it away as a frame, or asserts that it passed."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

import embcheck
from embcheck import EmbeddingTable, Estimate, NotMeasurable, above, beats, below, claim, nulls
from embcheck.errors import ChecksFailed, UsageError
from embcheck.run import frame
from embcheck.text import inert_line

HOSTILE = "<b>\x1b[31m=HYPERLINK(1)\u202e"


@pytest.fixture(scope="module")
def claims():
    """Three properties: one of two parameters, one that can't be measured, one with a null and an effect."""

    @claim(above(0.5), size=("small", "large"))
    def toys(table, size):
        """Large ones are large."""
        values = [0.7, 0.75, 0.8] if size == "large" else [0.2, 0.3, 0.2]
        return Estimate.from_units(values, unit=HOSTILE, name="size", details={"summary": "luck"})

    @claim(above(0.5))
    def absent(table):
        """Something is never there."""
        raise NotMeasurable("no toys")

    @claim(below(7), beats(nulls.gaussian), on_noise="any")
    def counted(table):
        """There are few rows."""
        return Estimate.exact(float(len(table.population)), n=4, unit="rows", effect={"name": "half", "value": 2.0})

    return toys, absent, counted


@pytest.fixture(autouse=True)
def _outside_ci(monkeypatch):
    monkeypatch.delenv("CI", raising=False)


@pytest.fixture
def table():
    return EmbeddingTable.from_arrays(np.eye(4, 3) + 1, list("abcd"))


@pytest.fixture
def run(table, claims):
    return embcheck.check(table, properties=claims)


@pytest.fixture
def two(claims):
    return embcheck.check(["a=random:30x4", "b=random:30x5"], properties=[claims[0], "neighbor_overlap"])


def test_a_run_is_a_sequence_of_its_results(run):
    """Length, iteration and places are those of ``results``; an id, a label or a result is in it or not."""
    assert (len(run), list(run), run[0], run[-1]) == (4, list(run.results), run.results[0], run.results[-1])
    assert (run[:2], run[np.int64(1)]) == (run.results[:2], run.results[1])
    assert all(name in run for name in ("toys", "toys[large]", "absent", run[2]))
    assert "toys[huge]" not in run


def test_a_result_is_found_by_its_name(run):
    """By label, by property where it has one result, or by parameters; it knows its model and the matrix's shape."""
    assert run["absent"] is run.get("absent", model="memory") is run.results[2]
    assert run["toys[large]"] is run.get("toys", size="large")
    assert (run["counted"].model, run["counted"].shape) == ("memory", (4, 3))


def test_a_result_of_several_models_is_found_by_its_model(two):
    """With several models, the model says which; of a pair the first, ``other`` being the second."""
    assert two.get("toys", model="b", size="small").model == "b"
    overlap = two["neighbor_overlap"]
    assert two.get("neighbor_overlap", model="a", other="b") is overlap
    assert overlap.model == "a"


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        (
            "toys",
            {},
            r"2 results are 'toys': toys\[small\] of memory, .* such as run.get\('toys', model='memory', size=",
        ),
        ("toy", {}, r"no result is 'toy'; the run has toys\[small\] of memory"),
        (
            "toys",
            {"size": "huge"},
            r"no result is 'toys', size='huge'; the run has toys\[small\] of memory, toys\[large\]",
        ),
        ("absent", {"model": "other"}, "no result is 'absent', model='other'; the run has absent of memory"),
    ],
)
def test_what_is_not_one_result_says_what_there_is(run, name, params, says):
    """No result, or several, is an error that names those there are."""
    with pytest.raises(UsageError, match=says):
        run.get(name, **params)


def test_a_model_is_known_by_the_spec_that_was_given(claims):
    """A result is found by its model's spec, as by the alias that the spec was given."""
    run = embcheck.check(["random:30x4", "b=random:40x4"], properties=["isotropy"])
    assert run.get("isotropy", model="random:30x4") is run.results[0]
    assert run.get("isotropy", model=run.report.models[1].spec) is run.get("isotropy", model="b") is run.results[1]


def test_a_failed_run_can_be_raised(run, table, claims):
    """The exception names what failed and is an assertion; a run that passes raises nothing."""
    with pytest.raises(
        ChecksFailed, match=r"^2 of 4 checks fail: toys\[small\] of memory \(refuted\), counted of"
    ) as error:
        run.raise_if_failed()
    assert isinstance(error.value, AssertionError)
    assert run.failed == (run.get("toys", size="small"), run["counted"])


@pytest.mark.parametrize("is_in_ci", [False, True])
@pytest.mark.parametrize("word", ["skipped", "n/a"])
def test_a_run_that_measured_nothing_does_not_pass(table, claims, monkeypatch, is_in_ci, word):
    """Whether skipped or not applicable, and wherever it runs: it says that nothing was measured, and why."""
    if is_in_ci:
        monkeypatch.setenv("CI", "true")
    unmeasured = embcheck.check(table, properties=claims[1] if word == "skipped" else "matrix_alignment")
    assert not unmeasured.passed
    said = rf"nothing was measured: \w+ of memory \({word}\); \w+: (no toys|.*output matrix)"
    with pytest.raises(ChecksFailed, match=said):
        unmeasured.raise_if_failed()


def test_what_was_not_measured_does_not_fail_the_rest(table, claims):
    """Beside a check that holds, outside continuous integration, one that was skipped fails nothing."""

    @claim(above(0))
    def positive(table):
        """One is positive."""
        return Estimate.exact(1.0)

    embcheck.check(table, properties=[claims[1], positive]).raise_if_failed()


def test_reprs_are_short():
    """A run of many checks, a result and an estimate say what counts in a line that a terminal can take."""
    run = embcheck.check("random:300x16", probes=50, properties=["*bias", "analogy*", "number*", "isotropy", "hubness"])
    assert len(run) > 40
    assert len(repr(run)) < 2_000
    assert "refuted" in repr(run)
    for value in (*run, *(result.estimate for result in run)):
        assert len(repr(value)) < 700
        assert repr(value).isprintable()


def test_a_repr_says_value_and_verdict(run):
    """A result's line has the check, the model, the verdict and the value, or why there is none."""
    assert (
        repr(run["counted"])
        == "<counted of memory: refuted, 4 (exact), n = 4 rows; claimed beats gaussian at p <= 0.01 (p = 1)>"
    )
    assert re.fullmatch(
        r"<toys\[small\] of memory: refuted, 0.2333 \(95%: 0\..* to 0\..*\), n = 3 .*; claimed above 0.5; luck>",
        repr(run["toys[small]"]),
    )
    assert repr(run["toys[large]"]).endswith(f"n = 3 {inert_line(HOSTILE)}>")
    assert repr(run["absent"]) == "<absent of memory: skipped, no toys>"


def test_a_repr_says_that_a_description_fails_nothing(table):
    """A description that is not so is no failure, and does not look like one."""

    @claim(above(7), kind="description")
    def many(table):
        """There are many rows."""
        return Estimate.exact(4.0, unit="rows")

    shown = repr(embcheck.check(table, properties=many)[0])
    assert shown == "<many of memory: refuted (describes), 4 (exact), n = 1 row; claimed above 7>"


def test_what_a_measure_remarks_is_said_of_a_claim_that_holds(table):
    """A remark limits what a claim means, whatever its verdict: repr and frame have it, as the terminal does."""

    @claim(above(3))
    def many(table):
        """There are many rows."""
        return Estimate.exact(4.0, unit="rows", details={"remark": "one of them is a copy"})

    result = embcheck.check(table, properties=many)[0]
    assert repr(result) == "<many of memory: holds, 4 (exact), n = 1 row; one of them is a copy>"
    assert (frame.row(result)["remark"], frame.row(result)["reason"]) == ("one of them is a copy", None)
    assert "one of them is a copy" in result._repr_html_()


def test_a_run_is_saved_as_json_only_under_its_name(run, tmp_path):
    """A name that promises a table or a page is refused with the way to one, and nothing is written."""
    for name in ("run.csv", "run.html"):
        with pytest.raises(UsageError, match=r"must end in \.json; save_html writes a page, and to_dataframe"):
            run.save(tmp_path / name)
    run.save(tmp_path / "run.json")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_row_holds_what_was_measured(two, run):
    """A row of the frame has the numbers of the result, and names as they are."""
    row = frame.row(run.get("toys", size="large"))
    estimate = run.get("toys", size="large").estimate
    assert set(row) == set(frame.COLUMNS)
    assert (row["model"], row["property"], row["parameters"], row["other"]) == ("memory", "toys", "large", None)
    assert (row["value"], row["low"], row["high"]) == (estimate.value, estimate.low, estimate.high)
    assert (row["n"], row["unit"], row["exact"]) == (3, HOSTILE, False)
    assert (frame.row(run["counted"])["effect"], frame.row(run["counted"])["p_value"]) == (2.0, 1.0)
    assert frame.row(run["absent"])["reason"] == "no toys"
    assert (row["claim"], row["reason"]) == ("above 0.5", None)
    counted = frame.row(run["counted"])
    assert counted["claim"] == "below 7; beats gaussian at p <= 0.01"
    assert [frame.row(result)["reason"] for result in run] == [result.reason for result in run]
    assert counted["reason"] == "refuted: 4 (exact), claimed beats gaussian at p <= 0.01 (p = 1)"
    assert frame.row(two["neighbor_overlap"])["other"] == "b"


def test_a_row_says_what_a_claim_rests_on_and_how_it_does_on_noise():
    """The ladder's rung, ``more`` where none suffices, and the number of random tables; nothing where not asked."""
    vectors = np.random.default_rng(0).standard_normal((300, 16))

    @claim(below(1), ladder=("mean",))
    def small(table):
        """The mean's length is small, which one of the mean is too."""
        return Estimate.exact(float(table.units(table.population).mean(0).norm()))

    @claim(above(0.99))
    def ordered(table):
        """The first row points along the first axis, as on no random table."""
        return Estimate.exact(abs(float(table.units(table.population[:1])[0, 0])))

    vectors[0] = np.eye(16)[0]
    run = embcheck.check(
        vectors, tokens=[*map(str, range(300))], properties=[small, ordered], explain=True, control=True
    )
    rows = [frame.row(result) for result in run]
    assert [(row["rests_on"], row["control"]) for row in rows] == [("mean", 20), ("more", 0)]
    assert all(said in run._repr_html_() for said in ("rests on", "with this mean gives", "more than"))
    plain = frame.row(embcheck.check("random:30x4", properties="isotropy")[0])
    assert (plain["rests_on"], plain["control"]) == (None, None)


def test_a_frame_has_a_row_a_result(run, claims):
    """With pandas, types are of numbers where there are numbers, and what is missing is missing."""
    pandas = pytest.importorskip("pandas")
    shown = run.to_dataframe()
    assert list(shown.columns) == list(frame.COLUMNS)
    assert {name: str(kind) for name, kind in shown.dtypes.items()} == frame.COLUMNS
    assert shown.query("not passed")["property"].tolist() == ["toys", "counted"]
    assert pandas.isna(shown.loc[2, ["value", "n", "exact"]]).all()
    assert embcheck.check("random:30x4", properties=claims[1]).to_dataframe()["value"].isna().all()


def test_without_pandas_there_is_a_way_out(run, monkeypatch):
    """Without pandas the error names the extra, and what holds the same."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"needs pandas: pip install 'embcheck\[pandas\]'; run.document"):
        run.to_dataframe()
