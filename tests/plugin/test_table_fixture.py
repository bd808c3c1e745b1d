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


UNIVERSAL = """
from hypothesis import given
from embcheck import strategies

@given(strategies.tokens(kind="word"))
def test_norms(embcheck_table, token):
    assert float(embcheck_table.norms[token.id]) < LIMIT

@given(strategies.tokens(kind="byte"))
def test_bytes(embcheck_table, token):
    raise AssertionError
"""
ITSELF = "own_nearest_neighbor"


def test_strategies_draw_from_the_fixtures_table(run, write, model, second):
    """A one-line test draws from each model's table in turn; where there is nothing to draw it is skipped."""
    write("test_it.py", UNIVERSAL.replace("LIMIT", "100"))
    run(model, second).assert_outcomes(passed=2, skipped=2)


def test_a_counterexample_names_the_token(alone, write, model):
    """What fails is shown as a token with its text and row, and the table in one line."""
    write("test_it.py", UNIVERSAL.replace("LIMIT", "0"))
    result = alone(model, "-k", "norms")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*embcheck_table=<EmbeddingTable 'random:300x16': 300 x 16 float32>,", "*token=Token(text='*', id=*),*"]
    )


def test_the_universal_property_that_ships(alone, model, second):
    """Every token of a sound table is its own nearest neighbor."""
    alone("--pyargs", "embcheck.properties", model, second, "-k", ITSELF).assert_outcomes(passed=2)


@pytest.mark.slow
def test_the_universal_property_finds_a_fault(alone, write, model):
    """Lengths that do not belong to the rows are found."""
    lines = ["import pytest", "@pytest.fixture(autouse=True)", "def broken(embcheck_table):"]
    write("conftest.py", "\n".join([*lines, "    embcheck_table.norms[:] *= 0.9"]))
    result = alone("--pyargs", "embcheck.properties", model, "-k", ITSELF)
    result.assert_outcomes(failed=1)


def test_globs_leave_the_universal_property_out(alone, model):
    """Where properties are chosen by name, the plain test that ships beside them does not run."""
    result = alone("--pyargs", "embcheck.properties", model, "--embcheck-property=random_baseline")
    result.assert_outcomes(passed=1)


@pytest.mark.slow
def test_shipped_properties_without_hypothesis(project, write, model):
    """Without hypothesis the declared properties run as ever, and the universal ones are not collected."""
    write("conftest.py", "import sys\nsys.modules['hypothesis'] = None\n")
    found = project.runpytest_subprocess(
        *("-p", "no:hypothesispytest", "-p", "no:cacheprovider", "-rs"),
        *("--pyargs", "embcheck.properties", model, "-k", "random_baseline"),
    )
    found.assert_outcomes(passed=1)
    assert "skipped" not in str(found.stdout)
