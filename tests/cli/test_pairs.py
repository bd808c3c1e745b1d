"""Properties of two models on the command line: which pairs run, under which model, and what the files say of them."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

import embcheck as package
from embcheck import sources
from embcheck.reports.json_file import schema

A, B, C = "a=random:30x4", "b=random:40x4", "c=random:60x4"
PAIRS = '''
"""Toy properties of two models."""
from embcheck import Estimate, NotMeasurable, above, claim


@claim(above(0.7), scale=[1, 2])
def pair_of_sizes(tables, scale, rng):
    """The first is not much smaller."""
    first, second = tables
    value = scale * len(first.vectors) / len(second.vectors)
    return Estimate.exact(value, unit="pairs", details={"drawn": int(rng.integers(1 << 30))})


@claim(above(0))
def pair_skipped(tables):
    """They share something."""
    raise NotMeasurable("they share no token")


@claim(above(0), margin=0.5)
def alone(table):
    """It has rows."""
    return Estimate.exact(float(len(table.vectors)), name="rows")
'''


@pytest.fixture
def pairs(project):
    (project / "properties" / "pairs.py").write_text(PAIRS)
    return project


@pytest.fixture
def checked(pairs, embcheck):
    """Check models, and give the exit code, the document and its results by alias and label."""

    def run(*arguments):
        found = embcheck("check", *arguments, "--json", "out.json")
        document = json.loads((pairs / "out.json").read_text())
        jsonschema.Draft202012Validator(schema()).validate(document)
        results = {
            (model["alias"], "-".join([r["property"], *map(str, r["params"].values())])): r
            for model in document["models"]
            for r in model["results"]
        }
        return found, document, results

    return run


def test_each_pair_runs_once_under_its_first_model(checked):
    """Three models make three pairs, each under the one given first, with the other's alias as a parameter."""
    found, document, results = checked(A, C, B, "--property", "pair_of_sizes")
    assert list(results) == [
        ("a", "pair_of_sizes-b-1"),
        ("a", "pair_of_sizes-b-2"),
        ("a", "pair_of_sizes-c-1"),
        ("a", "pair_of_sizes-c-2"),
        ("c", "pair_of_sizes-b-1"),
        ("c", "pair_of_sizes-b-2"),
    ]
    assert [model["alias"] for model in document["models"]] == ["a", "c", "b"]
    assert results["c", "pair_of_sizes-b-1"]["estimate"]["value"] == 1.5
    assert "REFUTED       pair_of_sizes[1-c]" in found.out
    assert found.code == 1


def test_no_result_depends_on_what_else_runs(checked):
    """A pair's result, its random numbers included, is the same beside other models; another pair draws others."""
    *_, results = checked(A, C, B, "--property", "pair_of_sizes")
    *_, two = checked(A, B, "--property", "pair_of_sizes")
    assert two["a", "pair_of_sizes-b-1"] == results["a", "pair_of_sizes-b-1"]
    drawn = {r["details"]["drawn"] for (_, label), r in results.items() if label.startswith("pair_of")}
    assert len(drawn) == 4  # a generator derives from the seed, the property, its parameters and the second model


@pytest.mark.parametrize("ci", ["", "true"])
def test_one_model_has_no_pair(checked, embcheck, monkeypatch, ci):
    """With one model such properties neither run nor count; where nothing else was asked for, nothing ran."""
    monkeypatch.setenv("CI", ci)
    found, _, results = checked(A, "--property", "alone", "--property", "pair*")
    assert (found.code, found.out.splitlines()[-1], list(results)) == (0, "1 hold", [("a", "alone")])
    only = embcheck("check", A, "--property", "pair_skipped")
    assert (only.code, only.err) == (5, "embcheck: nothing to check: pair_skipped: needs two models\n")


def test_skipped_pairs_say_why(checked, monkeypatch):
    """A pair that can't be measured is skipped with its reason, and fails in continuous integration."""
    assert checked(A, B, "--property", "pair_skipped")[0].code == 5
    monkeypatch.setenv("CI", "true")
    found, _, results = checked(A, B, "--property", "pair_skipped")
    record = results["a", "pair_skipped-b"]
    assert (found.code, record["outcome"], record["reason"]) == (5, "fail", "they share no token")


@pytest.mark.parametrize(
    ("glob", "labels"),
    [
        ("pair_of_sizes[1-b]", ["pair_of_sizes-b-1"]),
        ("pair_of_sizes[*-c]", ["pair_of_sizes-c-1", "pair_of_sizes-c-2"]),
    ],
)
def test_globs_select_pairs(checked, glob, labels):
    """A glob with brackets selects by parameters and the second model's alias."""
    *_, results = checked(A, B, C, "--property", glob)
    assert [label for alias, label in results if alias == "a"] == labels


@pytest.mark.parametrize("glob", ["pair_of_sizes[1-z]", "pair_of_sizes[1-a]"])
def test_glob_of_no_pair_is_an_error(pairs, embcheck, glob):
    """An alias that stands second in no pair matches nothing."""
    found = embcheck("check", A, B, "--property", glob)
    assert found.code == 4
    assert f"no property matches {glob!r}" in found.err


def test_a_second_model_that_does_not_load(checked, project):
    """Its pairs are errors under the first, which name its file; the first's own checks run."""
    (project / "bad.vec").write_text("2 2\na 1 0\nb 1\n")
    found, _, results = checked(A, "bad=fasttext:bad.vec", B, "--property", "pair_of_sizes[1-*]", "--property", "alone")
    assert found.code == 4
    verdicts = {key: r["verdict"] for key, r in results.items()}
    assert verdicts["a", "pair_of_sizes-bad-1"] == verdicts["bad", "pair_of_sizes-b-1"] == "error"
    assert "bad.vec" in results["a", "pair_of_sizes-bad-1"]["reason"]
    assert verdicts["a", "alone"] == "holds"
    assert verdicts["a", "pair_of_sizes-b-1"] == "holds"


def test_no_more_tables_than_a_pair_needs(pairs, embcheck, monkeypatch):
    """Two models are loaded once each; without pairs never more than one table is there at a time."""
    loads = []
    load = sources.load
    monkeypatch.setattr(sources, "load", lambda spec, **how: loads.append(spec.alias) or load(spec, **how))
    embcheck("check", A, B, "--property", "pair*", "--property", "alone")
    assert loads == ["a", "b"]
    loads.clear()
    embcheck("check", A, B, C, "--property", "pair*")
    assert loads == ["a", "b", "c", "b", "c"]


def test_list_shows_them(pairs, embcheck):
    """``list`` has a property of two models whatever models there are."""
    out = embcheck("list", "--property", "pair_skipped").out
    assert "runs for: each pair of models" in out
    assert "pair_skipped" in out


def test_report_formats(pairs, embcheck, monkeypatch):
    """The Markdown, GitHub's annotations and all details name the pair."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    found = embcheck("check", A, C, "--property", "pair_of_sizes", "--summary", "out.md", "--show", "all", "--control")
    assert "pair_of_sizes[1-c]" in found.out
    assert "vacuous: it also holds on 20 of 20 random tables" in " ".join(found.out.split())
    assert "::error title=pair_of_sizes[1-c] on a::" in found.err
    assert "`pair_of_sizes[1-c]`" in (pairs / "out.md").read_text()


def test_same_as_the_python_api(checked):
    """``embcheck.check`` with a list of models gives the same document, timings aside."""
    _, document, _ = checked(A, B, "--property", "pair*")
    other = package.check([A, B], properties="pair*").document
    assert document["models"] == json.loads(json.dumps(other["models"]))


def test_the_example_of_the_documentation_runs(pairs, embcheck):
    """The property of two models in docs/properties.md runs as it stands."""
    text = (Path(__file__).parents[2] / "docs" / "properties.md").read_text(encoding="utf-8")
    code = text.partition("## Properties of two models")[2].partition("```python\n")[2].partition("```")[0]
    (pairs / "properties" / "words.py").write_text(code)
    found = embcheck("check", C, A, "--property", "same_words")
    assert "REFUTED       same_words[a]  0.5 (exact)  n = 60 words" in found.out
    assert embcheck("check", A, C, "--property", "same_words").out.splitlines()[-1] == "1 hold"


# --- configuration and baselines ------------------------------------------------------------------------------------


def configure(project, text):
    general = f'models = ["{A}", "{C}"]\nproperty = ["pair_of_sizes", "alone"]'
    (project / "pyproject.toml").write_text(f"[tool.embcheck]\n{general}\n[tool.embcheck.model.a]\n{text}\n")


@pytest.mark.parametrize("names", [["pair_of_sizes[1-c]"], ["pair_of_sizes[1-c]", "alone"]])
def test_exceptions_of_a_pair_stand_under_its_first_model(checked, project, names):
    """A pair that is expected not to hold passes; one that holds fails, as ever."""
    configure(project, f"exceptions = {names}")
    found, _, results = checked()
    assert (results["a", "pair_of_sizes-c-1"]["outcome"], results["a", "pair_of_sizes-c-1"]["expected"]) == (
        "pass",
        False,
    )
    assert found.code == int(len(names) > 1)
    assert checked("c=random:9x2", "--property", "alone")[0].code == 0  # other models, and the names are known


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('exceptions = ["pair_of_sizes[1-z]"]', "no check is called 'pair_of_sizes[1-z]'"),
        ("claims = { pair_of_sizes = { margin = 0.1 } }", "not compared with a baseline"),
    ],
)
def test_wrong_settings_of_a_pair(pairs, embcheck, text, says):
    """An alias that the configuration does not know, and a margin, are refused."""
    configure(pairs, text)
    found = embcheck("check")
    assert found.code == 4
    assert says in found.err


def test_bounds_and_selection_of_a_pair(checked, project):
    """Other bounds and a selection of checks apply to one pair alone."""
    configure(project, 'claims = { "pair_of_sizes[1-c]" = { above = 0.1 } }\nproperty = ["pair_of_sizes[1-*]"]')
    found, _, results = checked(A, C, B)
    assert {key: r["claims"][0]["bound"] for key, r in results.items() if key[0] == "a"} == {
        ("a", "pair_of_sizes-b-1"): 0.7,
        ("a", "pair_of_sizes-c-1"): 0.1,
    }
    assert found.code == 0


def test_init_takes_in_the_pairs_with_earlier_models(pairs, embcheck, monkeypatch):
    """After init of a second model all passes in CI: pairs that do not hold are excused under their first model."""
    (pairs / "pyproject.toml").write_text('[tool.embcheck]\nproperty = ["pair_of_sizes", "alone"]\n')
    assert embcheck("init", A).code == 0
    found = embcheck("init", C)
    assert found.code == 0
    assert "(1 expected exception)" in found.err
    table = tomllib.loads((pairs / "pyproject.toml").read_text())["tool"]["embcheck"]
    assert {alias: own["exceptions"] for alias, own in table["model"].items()} == {"a": ["pair_of_sizes[1-c]"], "c": []}
    assert '"pair_of_sizes[1-c]", # refuted: ' in (pairs / "pyproject.toml").read_text()
    monkeypatch.setenv("CI", "true")
    assert embcheck("check").code == 0
    entries = json.loads((pairs / "embcheck-baselines" / "a.json").read_text())["entries"]
    assert [entry["property"] for entry in entries.values()] == ["alone"]
