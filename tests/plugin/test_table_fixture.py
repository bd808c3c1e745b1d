import pytest

SOURCE = """
from hypothesis import HealthCheck, given, settings, strategies as st

def test_rows(embcheck_table):
    assert embcheck_table.vectors.shape[0] in {200, 300}

@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_row(embcheck_table, data):
    row = data.draw(st.integers(0, len(embcheck_table.vectors) - 1))
    assert embcheck_table.norms[row] > 0

def test_probes(embcheck_table):
    assert len(embcheck_table.probes()) == 10
"""


def test_plain_tests_and_hypothesis(run, write, model, second):
    """``embcheck_table`` gives each model's table to plain tests and hypothesis, with the run's settings in force."""
    write("test_it.py", SOURCE)
    run(model, second, "--embcheck-probes=10").assert_outcomes(passed=6)


def test_names(alone, write, model, second):
    """Such a test is named by the model, as a declared property is."""
    write("test_it.py", SOURCE)
    result = alone(model, second, "--collect-only", "-q", "-k", "rows")
    result.stdout.fnmatch_lines(["test_it.py::test_rows[[]random-300x16]", "test_it.py::test_rows[[]small]"])


@pytest.mark.parametrize(("ci", "outcomes"), [("", {"skipped": 3}), ("true", {"errors": 3})])
def test_without_a_model(alone, write, monkeypatch, ci, outcomes):
    """Without a model it is skipped; in continuous integration it fails."""
    monkeypatch.setenv("CI", ci)
    write("test_it.py", SOURCE)
    result = alone("-rs")
    result.assert_outcomes(**outcomes)
    assert "--embcheck-model" in str(result.stdout)


def test_model_that_does_not_load(alone, write):
    """A model that fails to load is an error in one line."""
    write("broken.npy", "this is no matrix")
    write("words.txt", "a\nb\n")
    write("test_it.py", SOURCE)
    result = alone("--embcheck-model=broken=npy:broken.npy,vocab=words.txt")
    result.assert_outcomes(errors=3)
    assert "broken.npy" in str(result.stdout)
    assert "Traceback" not in str(result.stdout)


def test_settings_are_restored(alone, write, model):
    """The settings are in force for such tests, and for no longer than the run."""
    write("test_it.py", SOURCE + "\ndef teardown_module(): pass\n")
    alone(model, "--embcheck-probes=10").assert_outcomes(passed=3)
    from embcheck import settings

    assert settings.current() == settings.Settings()
