"""Properties of two models under pytest, in one process and with workers."""

import json
import xml.etree.ElementTree as ET

import pytest

import embcheck
from embcheck import sources

PAIRS = '''
from embcheck import Estimate, above, claim


@claim(above(1), scale=[1, 2])
def pair_of_sizes(tables, scale, rng):
    """The first is larger."""
    first, second = tables
    return Estimate.exact(scale * len(first.vectors) / len(second.vectors), unit="pairs")


@claim(above(0))
def alone(table):
    """It has rows."""
    return Estimate.exact(float(len(table.vectors)))
'''
A, B, C = (f"--embcheck-model={alias}=random:{rows}x4" for alias, rows in (("a", 30), ("b", 20), ("c", 60)))


@pytest.fixture
def pairs(project, write):
    write("properties/pairs.py", PAIRS)
    return project


def passed_names(result):
    return {line.split("::")[1].split()[0] for line in result.outlines if "::" in line}


def test_node_ids(pairs, alone):
    """A node id names both models, then the parameters."""
    result = alone(A, B, C, "--collect-only", "-q", "properties")
    sizes = {f"pair_of_sizes[{pair}-{scale}]" for pair in ("a-b", "a-c", "b-c") for scale in (1, 2)}
    assert passed_names(result) == sizes | {f"alone[{alias}]" for alias in "abc"}


def test_results_are_those_of_the_api(pairs, run, report):
    """The report is that of ``embcheck.check``, workers or not: pairs under their first model."""
    result = run(A, B, C, "--embcheck-json=out.json", "properties")
    result.assert_outcomes(passed=5, failed=4)
    names = {}
    exec(compile(PAIRS, "pairs", "exec"), names)  # noqa: S102
    specs = [option.partition("=")[2] for option in (A, B, C)]
    found = embcheck.check(specs, properties=[names["pair_of_sizes"], names["alone"]])
    assert report()[0]["models"] == json.loads(json.dumps(found.document["models"]))
    assert ("a", "pair_of_sizes[b-1]") in report()[1]


@pytest.mark.slow
def test_two_workers_give_the_same_bytes(pairs, project):
    """The document is the same whoever runs which pair, timings aside."""
    texts = []
    for name, how in {"a.json": ["-p", "no:xdist"], "b.json": ["-n2"]}.items():
        project.runpytest_subprocess(*how, A, C, B, "-p", "no:cacheprovider", f"--embcheck-json={name}", "properties")
        document = json.loads((project.path / name).read_text())
        texts.append(json.dumps({**document, "timing": None}))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("ci", ["", "true"])
def test_one_model_has_no_pair(pairs, alone, monkeypatch, ci):
    """With one model they are deselected: neither skipped nor failed, in CI too; alone, nothing ran."""
    monkeypatch.setenv("CI", ci)
    result = alone(A, "properties")
    assert (result.ret, result.parseoutcomes()["passed"]) == (0, 1)
    assert "skipped" not in result.parseoutcomes()
    assert alone(A, "--embcheck-property=pair*", "properties").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_without_any_model(pairs, alone, write):
    """Without a model they say so, as every property does."""
    write("pyproject.toml", "[tool.embcheck]\n")
    assert alone("properties").parseoutcomes()["skipped"] == 3


def test_only_pairs_are_chosen(pairs, alone, report):
    """Where only pairs run, the report still says what both models were."""
    alone(A, B, "--embcheck-json=out.json", "--embcheck-property=pair_of_sizes[2-b]", "properties")
    models = report()[0]["models"]
    assert [(m["alias"], m["shape"], len(m["results"])) for m in models] == [("a", [30, 4], 1), ("b", [20, 4], 0)]


def test_each_model_is_loaded_once_for_one_pair(pairs, alone, monkeypatch):
    """Items are grouped so that two models are loaded once each."""
    loads = []
    load = sources.load
    monkeypatch.setattr(sources, "load", lambda spec, **how: loads.append(spec.alias) or load(spec, **how))
    alone(A, B, "properties")
    assert loads == ["a", "b"]


def test_failure_names_both_models(pairs, alone, project):
    """The failure's text has both models, and JUnit's case the pair."""
    result = alone(A, C, "--junit-xml=out.xml", "--embcheck-property=pair_of_sizes[1-c]", "properties")
    shown = [" ".join(line.split()) for line in result.outlines]
    assert "model: a (random:30x4), 30 x 4 float32" in shown
    assert "other: c (random:60x4), 60 x 4 float32" in shown
    (case,) = ET.parse(project.path / "out.xml").iter("testcase")  # noqa: S314 - our own file
    assert case.get("name") == "pair_of_sizes[a-c-1]"
    assert case.find("failure").text.startswith("REFUTED pair_of_sizes[1-c] 0.5 (exact)")


def test_known_exception_of_a_pair(pairs, alone, write, usage_error):
    """An exception of the first model names the second; one that names no model is wrong usage."""
    text = "[tool.embcheck]\nmodels = ['a=random:30x4', 'c=random:60x4']\n[tool.embcheck.model.a]\nexceptions = [{}]\n"
    write("pyproject.toml", text.format("'pair_of_sizes[1-c]', 'pair_of_sizes[2-c]'"))
    result = alone("properties")
    assert (result.ret, result.parseoutcomes()["xfailed"]) == (0, 2)
    write("pyproject.toml", text.format("'pair_of_sizes[1-z]'"))
    assert "no check is called 'pair_of_sizes[1-z]'" in usage_error(alone("properties"))


def test_a_second_model_that_does_not_load(pairs, alone, write, report):
    """Its pairs fail as errors that name its file, and the first model's own checks pass."""
    write("bad.vec", "2 2\na 1 0\nb 1\n")
    alone(A, "--embcheck-model=bad=fasttext:bad.vec", "--embcheck-json=out.json", "properties")
    results = report()[1]
    record = results["a", "pair_of_sizes[bad-1]"]
    assert (record["verdict"], record["outcome"]) == ("error", "fail")
    assert "bad.vec" in record["reason"]
    assert results["a", "alone"]["verdict"] == "holds"
