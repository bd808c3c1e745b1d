import importlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from embcheck import api, measures, published, sources
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.cli import main
from embcheck.errors import NotMeasurable
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable

QWEN, GPT2 = "Qwen/Qwen3-30B-A3B-Base", "openai-community/gpt2"
NAME = "reproduces_published_figures"
SHARE = 0.6191


def check():
    return Check(getattr(importlib.import_module(f"embcheck.properties.{NAME}"), NAME), {})


def run(spec):
    return evaluate(check(), sources.load(spec, device="cpu"), Settings())


def figures(result):
    return {row["figure"]: row for row in result.estimate.details["published_figures"]}


@pytest.fixture(scope="module")
def qwen(tmp_path_factory, save_model, biased):
    """Spec of a folder named as the model, of a matrix built to its published share."""
    return save_model(tmp_path_factory.mktemp("hub") / QWEN, biased(SHARE))


@pytest.fixture(scope="module")
def held(qwen):
    return run(qwen)


# --- means over 50 tokens -------------------------------------------------------------------------------------------


def test_a_matrix_built_to_the_published_share_holds(held):
    """A stand-in with the model's share holds: all seven columns lie within their tolerance, over every row."""
    assert held.verdict is Verdict.HOLDS
    assert held.estimate.value < 1
    assert (held.estimate.n, held.estimate.unit) == (7, "published figures")
    found = figures(held)
    assert list(found) == ["min", "max", "mean", "median", "non_negative", "negative", "share"]
    assert found["share"]["ours"] == pytest.approx(SHARE, abs=2e-4)
    assert all(row["within"] for row in found.values())
    assert held.estimate.details["rows"] == 800  # though the tokenizer has 256
    assert "800 rows, published of 151936" in held.estimate.details["summary"]


@pytest.mark.parametrize("direction", [-1, 1])
def test_shifted_by_three_tolerances_it_fails(tmp_path, save_model, biased, held, direction):
    """A matrix whose share lies three times the stated tolerance away is refuted, and the figure is named."""
    away = 3 * figures(held)["share"]["tolerance"]
    result = run(save_model(tmp_path / QWEN, biased(SHARE + direction * away)))
    assert result.verdict is Verdict.REFUTED
    row = figures(result)["share"]
    assert row["ours"] == pytest.approx(SHARE + direction * away, abs=1e-3)
    assert not row["within"]
    assert "share" in {entry["token"] for entry in result.estimate.counterexamples}


@pytest.mark.parametrize("name", ["min", "max", "mean", "median", "non_negative", "negative", "share"])
def test_each_column_decides(qwen, held, monkeypatch, name):
    """Had any one column been published as ours, rounded, it would be within; three tolerances away it is outside."""
    row, table = figures(held)[name], sources.load(qwen, device="cpu")
    (entry,) = published.of(qwen)
    for tolerances, within in ((0, True), (3, False)):
        value = row["ours"] + tolerances * row["tolerance"]
        kept = tuple(replace(f, value=value) if f.name == name else f for f in entry.figures)
        monkeypatch.setattr(published, "of", lambda _, kept=kept: (replace(entry, figures=kept),))
        found = measures.published_deviation(table, rng=np.random.default_rng(0)).details["published_figures"]
        assert [one["within"] for one in found if one["figure"] == name] == [within]


def statistics_of(matrix):
    """Each row's min, max, mean, median and share of non-negative cosines with every other row, in float64."""
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    cells = unit @ unit.T
    cells = cells[~np.eye(len(cells), dtype=bool)].reshape(len(cells), -1)
    return {
        "min": cells.min(1).round(2),
        "max": cells.max(1).round(2),
        "mean": cells.mean(1).round(2),
        "median": np.median(cells, axis=1).round(2),
        "share": (cells >= 0).mean(1).round(4),
        "non_negative": (cells >= 0).mean(1) * 151_935,
        "negative": (cells < 0).mean(1) * 151_935,
    }


def test_columns_are_a_naive_computation(held, biased):
    """Ours are means over all rows of each row's rounded statistic, in float64."""
    found, expected = figures(held), statistics_of(biased(SHARE))
    for name, values in expected.items():
        assert found[name]["ours"] == pytest.approx(values.mean(), abs=5e-4, rel=1e-6)


def test_the_tolerance_covers_the_notebooks_sampling(held, biased):
    """Of 4,000 runs of the notebook on the matrix itself, each column is within our tolerance in 98.5 of 100 or more.

    A run draws 50 rows with replacement, averages and rounds. For the share, where rounding plays no part, the
    tolerance is no wider than it says.
    """
    rng, found, values = np.random.default_rng(8), figures(held), statistics_of(biased(SHARE))
    rows = rng.integers(0, 800, (4_000, 50))
    for name, row in found.items():
        runs = values[name][rows].mean(1).round(4 if name == "share" else 2)
        covered = (np.abs(runs - row["ours"]) < row["tolerance"]).mean()
        assert covered >= 0.985, name
        if name in {"share", "non_negative", "negative"}:
            assert covered <= 0.995, name


def test_rows_without_a_direction_are_left_out_and_counted(tmp_path, save_model, biased):
    """Zero rows have no cosine: they are left out, and the result says how many."""
    matrix = biased(SHARE).copy()
    matrix[[5, 700]] = 0
    result = run(save_model(tmp_path / QWEN, matrix))
    assert result.estimate.details["rows_without_direction"] == 2
    assert "2 rows without a direction left out" in result.estimate.details["summary"]


def test_the_population_of_the_run_changes_nothing(qwen, held):
    """Every row counts, whatever the run's population is; one seed gives one result."""
    other = evaluate(check(), sources.load(qwen, device="cpu", population="all"), Settings())
    assert other.record == held.record


# --- words ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted(tmp_path_factory, save_model, gpt2):
    words, place, matrix = gpt2
    spec = save_model(tmp_path_factory.mktemp("hub") / GPT2, matrix, words)
    return spec, place, sources.load(spec, device="cpu")


def changed(planted, change):
    """The result after a change of the matrix."""
    _, place, table = planted
    vectors = table.vectors.clone()
    change(vectors, place)
    return evaluate(check(), table.with_vectors(vectors), Settings())


def outside(result):
    return {name for name, row in figures(result).items() if not row["within"]}


def test_words_planted_as_published_hold(planted):
    """Ten plural offsets, an analogy, and five neighbors with their ranks are all reproduced."""
    result = changed(planted, lambda vectors, place: None)
    assert result.verdict is Verdict.HOLDS
    found = figures(result)
    assert len(found) == result.estimate.n == 10 + 3 + 2 * 5
    assert found["country>countries"]["ours"] == pytest.approx(0.5485, abs=1e-6)
    assert found["angle_degrees"]["ours"] == pytest.approx(76, abs=1e-3)
    assert found["rank of 'Jim'"]["ours"] == 5
    assert {row["source"] for row in found.values()} == {
        "Word Embeddings: From Tokens to Geometry (2026)",
        "Measuring Similarity in GPT-2",
    }


def test_another_plural_is_found(planted):
    """A plural that points elsewhere moves its own cosine, and is named."""

    def turn(vectors, place):
        vectors[place["cats"], 10] += 0.1

    result = changed(planted, turn)
    assert result.verdict is Verdict.REFUTED
    assert "cat>cats" in outside(result)
    assert not any(name.startswith(("rank", "cosine", "angle")) for name in outside(result))


def test_another_analogy_is_found(planted):
    """A longer woman moves the arithmetic's cosines and its angle."""

    def lengthen(vectors, place):
        for word in ("woman", "women"):
            vectors[place[word], :4] *= 1.5

    assert {"cosine_king", "angle_degrees"} & outside(changed(planted, lengthen))


def test_other_neighbors_are_found(planted):
    """Two neighbors that change places change ranks; a stranger in between changes those behind it."""

    def swap(vectors, place):
        vectors[[place["Chris"], place["Jim"]]] = vectors[[place["Jim"], place["Chris"]]]

    assert {"rank of 'Chris'", "rank of 'Jim'"} <= outside(changed(planted, swap))

    def intrude(vectors, place):
        vectors[3] = 0.7 * vectors[place["Mike"]]
        vectors[3, 50] = 0.7

    found = outside(changed(planted, intrude))
    assert {"rank of 'Michael'", "rank of 'Jim'"} <= found
    assert "cosine of 'Jim'" not in found


def test_lower_precision_is_allowed_for(planted):
    """In bfloat16 figures of words move by more than rounding, and no more than that dtype explains."""
    spec, _, _ = planted
    result = evaluate(check(), sources.load(spec, device="cpu", dtype="bfloat16"), Settings())
    rows = figures(result).values()
    assert max(abs(row["ours"] - row["published"]) for row in rows if "." in row["printed"]) > 5e-5
    assert result.verdict is Verdict.HOLDS


def test_words_that_are_missing_are_named(tmp_path, save_model, gpt2):
    """Without the words nothing is compared, and the reason names them."""
    words, _, matrix = gpt2
    spec = save_model(tmp_path / GPT2, matrix, [word for word in words if word != "ĠMike"])
    result = run(spec)
    assert result.verdict is Verdict.SKIPPED
    assert result.reason == "published figures are about tokens not to be found here: ' Mike'"


# --- which models have the check ------------------------------------------------------------------------------------


def test_a_model_that_is_not_listed_has_no_such_check(tmp_path, save_model, biased, monkeypatch):
    """The check is not among an unlisted model's, rather than skipped, so that nothing fails in CI for want of it."""
    monkeypatch.setenv("CI", "true")
    spec = save_model(tmp_path / "someone" / "else", biased(SHARE)[:300])
    found = api.check(spec.target, properties=[NAME, "normalization"])
    assert [result.check.label for result in found.results] == ["normalization"]
    with pytest.raises(NotMeasurable, match="no published figures are listed of"):
        measures.published_deviation(sources.load(spec, device="cpu"), rng=np.random.default_rng(0))


def test_a_table_in_memory_is_no_listed_model():
    """A table made in memory names no model, so that the check, run on it all the same, is skipped."""
    table = EmbeddingTable.from_arrays(np.eye(4), list("abcd"))
    assert evaluate(check(), table, Settings()).verdict is Verdict.SKIPPED


# --- where it is seen -----------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path, monkeypatch, qwen):
    """A project with the stand-in under its hub name."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(qwen.target, tmp_path / QWEN)
    return tmp_path


def test_the_reports_show_ours_beside_theirs(project, capsys):
    """Terminal, Markdown and JSON show each figure, ours and the published one, with the tolerance."""
    options = ["--property", NAME, "--show", "all", "--json", "r.json", "--summary", "s.md"]
    code = main(["check", QWEN, "random:40x8", *options])
    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert all(len(line) <= 80 for line in lines)
    row = next(line.split() for line in lines if line.strip().startswith("share"))
    listed, unlisted = json.loads((project / "r.json").read_text())["models"]
    assert unlisted["results"] == []
    share = listed["results"][0]["details"]["published_figures"][-1]
    assert (share["figure"], share["published"], share["within"]) == ("share", 0.6191, True)
    assert row[1:3] == [f"{share['ours']:.6f}", "0.6191"]
    markdown = (project / "s.md").read_text()
    assert "| `share` |" in markdown
    assert "| 0.6191 |" in markdown


def test_an_unlisted_model_alone_runs_nothing(project, capsys):
    """Asked of an unlisted model only, nothing runs: exit code 5."""
    assert main(["check", "random:40x8", "--property", NAME]) == 5


@pytest.mark.slow
def test_pytest_leaves_the_check_out_where_it_does_not_apply(project, pytester, monkeypatch):
    """Under pytest in CI an unlisted model has no item of it, not a skipped one; a listed model has one that passes."""
    monkeypatch.setenv("CI", "true")
    models = ["--embcheck-model", str(project / QWEN), "--embcheck-model", "random:40x8"]
    done = pytester.runpytest_subprocess("-q", "--pyargs", "embcheck.properties", "--embcheck-property", NAME, *models)
    outcomes = done.parseoutcomes()
    assert (outcomes.get("passed"), outcomes.get("skipped"), outcomes.get("failed")) == (1, None, None)
