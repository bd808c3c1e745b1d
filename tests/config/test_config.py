from __future__ import annotations

import os
from pathlib import Path

import pytest

from embcheck import Estimate, above, claim
from embcheck.checks.evaluate import checks_of
from embcheck.config import per_model
from embcheck.config.config import resolve
from embcheck.config.options import OPTIONS, option
from embcheck.errors import ConfigError, SpecError, UsageError
from embcheck.settings import Settings


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith("EMBCHECK_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def configured(tmp_path):
    """Writes a [tool.embcheck] table and gives its folder."""

    def write(text: str) -> Path:
        (tmp_path / "pyproject.toml").write_text(f"[tool.embcheck]\n{text}\n")
        return tmp_path

    return write


def test_defaults_are_those_of_the_option_table(tmp_path):
    """With nothing given, every option has its default."""
    config = resolve({}, root=tmp_path)
    assert config.settings == Settings(seed=0, confidence_level=0.95, probes=None)
    assert (config.models, config.property, config.properties) == ((), (), ())
    assert (config.device, config.dtype, config.population) == ("auto", None, "known")
    assert (config.control, config.json, config.show, config.configured) == (False, None, "rows", False)


@pytest.mark.parametrize(
    ("name", "text", "attribute", "value"),
    [
        ("device", "cuda:1", "device", "cuda:1"),
        ("dtype", "bfloat16", "dtype", "bfloat16"),
        ("population", "all", "population", "all"),
        ("control", "true", "control", True),
        ("control", "0", "control", False),
        ("json", "out.json", "json", Path("out.json")),
        ("show", "none", "show", "none"),
        ("property", "a* b", "property", ("a*", "b")),
        ("properties", "x.py 'y z'", "properties", (Path("x.py"), Path("y z"))),
    ],
)
def test_every_option_has_a_variable(tmp_path, monkeypatch, name, text, attribute, value):
    """EMBCHECK_NAME gives an option as text; several values are parted by white space."""
    monkeypatch.setenv(f"EMBCHECK_{name.upper()}", text)
    assert getattr(resolve({}, root=tmp_path), attribute) == value


def test_settings_and_models_have_variables_too(tmp_path, monkeypatch):
    """Seed, confidence, probes and models can be given in the environment."""
    for name, text in {"SEED": "7", "CONFIDENCE": "0.9", "PROBES": "all", "MODEL": "a=demo random:3x2"}.items():
        monkeypatch.setenv(f"EMBCHECK_{name}", text)
    config = resolve({}, root=tmp_path)
    assert config.settings == Settings(seed=7, confidence_level=0.9, probes="all")
    assert [spec.alias for spec in config.models] == ["a", "random-3x2"]


def test_command_line_beats_environment_beats_file(configured, monkeypatch):
    """Command line over environment over file over default."""
    root = configured("seed = 1\nconfidence = 0.9")
    assert resolve({}, root=root).settings.seed == 1
    monkeypatch.setenv("EMBCHECK_SEED", "2")
    assert resolve({}, root=root).settings.seed == 2
    assert resolve({"seed": "3"}, root=root).settings == Settings(seed=3, confidence_level=0.9)


def test_values_not_given_do_not_override(configured):
    """None and empty sequences from an option parser mean that nothing was given; zero is a value."""
    root = configured('seed = 5\nmodels = ["demo"]\ncontrol = true')
    config = resolve({"seed": None, "model": (), "control": None}, root=root)
    assert (config.settings.seed, len(config.models), config.control) == (5, 1, True)
    assert resolve({"seed": 0, "control": False}, root=root).settings.seed == 0


def test_empty_variable_counts_as_unset(tmp_path, monkeypatch):
    """An empty environment variable is none."""
    monkeypatch.setenv("EMBCHECK_SEED", "")
    assert resolve({}, root=tmp_path).settings.seed == 0


def test_file_is_found_upwards_past_those_of_others(configured):
    """The nearest [tool.embcheck] counts; a pyproject.toml without one is passed over, however broken."""
    root = configured("seed = 4")
    inner = root / "a" / "b"
    inner.mkdir(parents=True)
    (root / "a" / "pyproject.toml").write_text("[project\nbroken")
    config = resolve({}, root=inner)
    assert (config.settings.seed, config.configured, config.file) == (4, True, root.resolve() / "pyproject.toml")


def test_paths_in_the_file_start_from_the_file(configured, monkeypatch):
    """Relative paths of the file mean the same from every working directory; those of the command line do not move."""
    root = configured('properties = ["more"]\njson = "out.json"\nmodels = ["w=npy:v.npy,vocab=w.txt", "x=random:3x2"]')
    (root / "v.npy").touch()
    (root / "w.txt").touch()
    inner = root / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    config = resolve({}, root=inner)
    assert config.properties == (root.resolve() / "more",)
    assert config.json == root.resolve() / "out.json"
    assert config.models[0].target == str(root.resolve() / "v.npy")
    assert config.models[0].option("vocab") == str(root.resolve() / "w.txt")
    assert config.models[0].text == "npy:v.npy,vocab=w.txt"
    assert resolve({"json": "mine.json"}, root=inner).json == Path("mine.json")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sede = 1", r"unknown key 'sede' \(= 1\); did you mean 'seed'\?"),
        ("zzz = 1", "unknown key 'zzz' .*; known: models, "),
        ('seed = "1"', "seed: expected a whole number, got '1'"),
        ("seed = true", "seed: expected a whole number, got True"),
        ("seed = 1.5", "seed: expected a whole number, got 1.5"),
        ('confidence = "high"', "confidence: expected a number, got 'high'"),
        ("control = 1", "control: expected true or false, got 1"),
        ('control = "yes"', "control: expected true or false, got 'yes'"),
        ("probes = 1.5", "probes: expected a whole number, 'all' or 'auto', got 1.5"),
        ('show = "al"', r"show: expected fail, rows, all or none, got 'al' \(did you mean all\?\)"),
        ('device = "gpu"', "device: expected auto, cpu, cuda, cuda:N or mps, got 'gpu'"),
        ("models = 3", "models: expected text, or a list of them, got 3"),
        ("models = [3]", "models: expected text, or a list of them, got 3"),
        ("json = 3", "json: expected a path, got 3"),
        ('model = "demo"', "model must hold a table for each alias, got 'demo'; list specs under 'models'"),
        ("[tool.embcheck.model]\na = 1", r"\[tool.embcheck.model.a\] must be a table, got 1"),
        ("[tool.embcheck.model.a]\nexception = []", "unknown key 'exception' .*; did you mean 'exceptions'"),
        ('[tool.embcheck.model.a]\nexceptions = "x"', "exceptions must be a list of check names, got 'x'"),
        ("seed =", "not valid TOML"),
    ],
)
def test_mistakes_in_the_file_name_the_file_and_the_value(configured, text, says):
    """A wrong key, type or value is a one-line error that names file, key, value and the way out."""
    with pytest.raises(ConfigError, match=says) as error:
        resolve({}, root=configured(text))
    assert "pyproject.toml" in str(error.value)
    assert "\n" not in str(error.value)


def test_table_must_be_a_table(tmp_path):
    """[tool] embcheck = ... is refused."""
    (tmp_path / "pyproject.toml").write_text("[tool]\nembcheck = 3\n")
    with pytest.raises(ConfigError, match="must be a table, got 3"):
        resolve({}, root=tmp_path)


@pytest.mark.parametrize(
    ("given", "kind", "says"),
    [
        ({"sede": 1}, ConfigError, "no option 'sede'; did you mean 'seed'"),
        ({"probes": "some"}, ConfigError, "option probes: expected a whole number, 'all' or 'auto'"),
        ({"control": "maybe"}, ConfigError, "option control: expected true or false"),
        ({"json": ""}, ConfigError, "option json: expected a path, got ''"),
        ({"confidence": "0.3"}, UsageError, "between 0.5 and 1"),
        ({"model": ["a=demo", "a=random:2x2"]}, SpecError, "two models are called 'a'"),
        ({"model": 3}, ConfigError, "option model: expected text"),
    ],
)
def test_mistakes_on_the_command_line(tmp_path, given, kind, says):
    """Options from a command line are checked by the same rules."""
    with pytest.raises(kind, match=says):
        resolve(given, root=tmp_path)


def test_unbalanced_quotes_in_a_variable(tmp_path, monkeypatch):
    """A variable that can't be split is named."""
    monkeypatch.setenv("EMBCHECK_PROPERTY", "'open")
    with pytest.raises(ConfigError, match="EMBCHECK_PROPERTY"):
        resolve({}, root=tmp_path)


@pytest.fixture
def checks():
    @claim(above(0), size=[1, 2])
    def toy(table, size):
        """Says."""
        return Estimate.exact(size)

    return checks_of([toy])


def test_exceptions_name_a_property_or_one_of_its_cases(configured, checks):
    """An exception covers a whole property, or one case of it, on one model."""
    root = configured('[tool.embcheck.model.a]\nexceptions = ["toy"]\n[tool.embcheck.model.b]\nexceptions = ["toy[2]"]')
    config = resolve({}, root=root)
    per_model.check_names(config.file, config.per_model, checks)
    assert config.of("a").exceptions == ("toy",)
    assert config.of("c").exceptions == ()
    assert [config.expected(alias, check) for alias in "abc" for check in checks] == [
        False,
        False,
        True,
        False,
        True,
        True,
    ]


def test_exception_that_names_no_check_is_an_error(configured, checks):
    """A misspelt exception is reported with the closest name."""
    config = resolve({}, root=configured('[tool.embcheck.model.a]\nexceptions = ["toy[3]"]'))
    with pytest.raises(ConfigError, match=r"model.a\] exceptions: no check is called 'toy\[3\]'; did you mean"):
        per_model.check_names(config.file, config.per_model, checks)


def test_option_table_is_consistent():
    """Names are unique, defaults are allowed values, and each option can be looked up."""
    assert len({found.name for found in OPTIONS}) == len(OPTIONS)
    for found in OPTIONS:
        assert option(found.name) is found
        assert not found.choices or found.default is None or found.default in found.choices
        assert found.multiple == (found.default == () and found.kind != "updates")
    with pytest.raises(KeyError):
        option("nosuch")


def test_matrix_and_tensor_are_passed_on_to_every_model(tmp_path):
    """``--matrix`` and ``--tensor`` become options of the specs, which keep options of their own."""
    given = {"model": ("a=./a", "b=./b,matrix=input"), "matrix": "output", "tensor": "w"}
    found = resolve(given, root=tmp_path).models
    assert [model.text for model in found] == ["./a,matrix=output,tensor=w", "./b,matrix=input,tensor=w"]
    assert [model.alias for model in found] == ["a", "b"]
    assert resolve({"model": ("a=./a",)}, root=tmp_path).models[0].text == "./a"
