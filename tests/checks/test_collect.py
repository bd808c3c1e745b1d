from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from embcheck.checks import collect
from embcheck.errors import UsageError

PROPERTY = '''
from embcheck import Estimate, above, claim

@claim(above(0))
def {name}(table):
    """Says."""
    return Estimate.exact(1.0)
'''


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(PROPERTY.format(name=name) for name in names))
    return path


def ids(checks):
    return list(dict.fromkeys(check.declaration.id for check in checks))


def test_shipped_properties_are_found():
    """The properties that come with embcheck are there without any path."""
    assert {"positive_cosine_bias", "analogy_rank", "random_baseline"} <= set(ids(collect.collect()))


def test_order_is_file_name_then_line(tmp_path):
    """Checks come in the order of file names, and of lines within a file."""
    write(tmp_path / "b.py", "toy_z", "toy_a")
    write(tmp_path / "a.py", "toy_m")
    assert ids(collect.collect([tmp_path / "b.py", tmp_path / "a.py"], globs=["toy_*"])) == ["toy_m", "toy_z", "toy_a"]


def test_own_folder_is_found_by_itself(tmp_path):
    """./properties needs no option."""
    write(tmp_path / "properties" / "mine.py", "toy")
    assert ids(collect.collect(globs=["toy"])) == ["toy"]


def test_files_that_say_nothing_of_embcheck_are_not_run(tmp_path):
    """A folder of that name may belong to something else, whose files are left alone."""
    (tmp_path / "properties").mkdir()
    (tmp_path / "properties" / "strange.py").write_text("raise SystemExit('ran')")
    collect.collect()


def test_private_and_conftest_files_are_passed_over(tmp_path):
    """Files beginning with an underscore, and conftest.py, hold no properties."""
    for name in ("_helper.py", "__init__.py", "conftest.py"):
        write(tmp_path / "more" / name, "toy")
    write(tmp_path / "more" / "real.py", "toy")
    assert len(collect.collect([tmp_path / "more"], globs=["toy"])) == 1


def test_one_file_reached_twice_counts_once(tmp_path):
    """A file named by itself, by its folder and through a link is one file."""
    file = write(tmp_path / "properties" / "mine.py", "toy")
    (tmp_path / "link.py").symlink_to(file)
    assert len(collect.collect([file, file.parent, tmp_path / "link.py"], globs=["toy"])) == 1


def test_copy_of_a_shipped_file_counts_once(tmp_path):
    """A checkout's properties beside an installed wheel are the same properties."""
    before = collect.functions()
    for function in before:
        (tmp_path / "properties").mkdir(exist_ok=True)
        shutil.copy(function.__code__.co_filename, tmp_path / "properties")
    assert collect.functions() == before


def test_two_properties_of_one_name_are_an_error(tmp_path):
    """Two functions of one name would share results: both files are named."""
    first, second = write(tmp_path / "one.py", "toy"), write(tmp_path / "two.py", "toy")
    with pytest.raises(UsageError, match=r"two properties are called 'toy': .*one.py:\d+ and .*two.py:\d+"):
        collect.collect([first, second])


def test_imported_properties_belong_to_their_own_file(tmp_path):
    """A property imported into another file is not declared there."""
    (tmp_path / "mine.py").write_text("from embcheck.properties.positive_cosine_bias import positive_cosine_bias\n")
    assert ids(collect.collect([tmp_path / "mine.py"], globs=["positive_*"])) == ["positive_cosine_bias"]


@pytest.mark.parametrize(
    ("glob", "labels"),
    [
        ("toy", ["toy[a]", "toy[b[1]]"]),
        ("toy[a]", ["toy[a]"]),
        ("toy[*]", ["toy[a]", "toy[b[1]]"]),
        ("*b[1]*", ["toy[b[1]]"]),
        ("t?y", ["toy[a]", "toy[b[1]]"]),
    ],
)
def test_globs_match_ids_and_labels(tmp_path, glob, labels):
    """A glob matches the id, or the id with parameters; brackets stand for themselves."""
    text = PROPERTY.format(name="toy").replace("above(0)", 'above(0), x=["a", "b[1]"]').replace("(table)", "(table, x)")
    (tmp_path / "toy.py").write_text(text)
    assert [check.label for check in collect.collect([tmp_path / "toy.py"], globs=[glob])] == labels


@pytest.mark.parametrize(
    ("globs", "labels"),
    [
        (["!toy[a]"], ["toy[b]", "toy[c]"]),
        (["toy[a]", "toy[b]", "!*b]"], ["toy[a]"]),
        (["!toy[a]", "!toy[b]"], ["toy[c]"]),
        (["!toy"], []),
    ],
)
def test_globs_with_an_exclamation_mark_exclude(tmp_path, globs, labels):
    """What such a glob matches is left out of the others' checks or, where there are none, of all."""
    text = (
        PROPERTY.format(name="toy").replace("above(0)", 'above(0), x=["a", "b", "c"]').replace("(table)", "(table, x)")
    )
    (tmp_path / "toy.py").write_text(text)
    known = collect.checks_of(collect.functions([tmp_path / "toy.py"]))
    known = [check for check in known if check.declaration.id == "toy"]
    assert [check.label for check in collect.select(known, globs)] == labels


@pytest.mark.parametrize("glob", ["TOY", "to", "toy[ab]", "!to"])
def test_glob_that_matches_nothing_says_where_names_are(tmp_path, glob):
    """Globs are case-sensitive and match whole names; one without a match is an error that says where they are."""
    with pytest.raises(UsageError, match=r"no property matches .*; .*all \d+ checks are in: embcheck list"):
        collect.collect([write(tmp_path / "toy.py", "toy")], globs=[glob])


def test_a_file_that_was_not_read_is_named_where_a_property_is_missing(tmp_path, monkeypatch):
    """A file in ./properties that does not speak of embcheck is not read; who looks for its property is told."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "properties").mkdir()
    (tmp_path / "properties" / "opp.py").write_text("@claim(above(0))\ndef opposites(table):\n    return 1\n")
    with pytest.raises(UsageError, match=r"properties.opp\.py was not read, as it does not import embcheck"):
        collect.collect(globs=["opposites"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("(table)", "(table, tmp_path, capsys)"),
            "takes the arguments 'tmp_path', 'capsys' that only pytest supplies",
        ),
        (("@claim", "import pytest\n@pytest.mark.slow\n@claim"), "carries the pytest mark 'slow'"),
    ],
)
def test_properties_for_pytest_are_refused_by_name(tmp_path, change, says):
    """A property that takes fixtures or carries marks is refused, unless it is not selected."""
    file = tmp_path / "toy.py"
    file.write_text(PROPERTY.format(name="toy").replace(*change))
    write(tmp_path / "other.py", "other_toy")
    with pytest.raises(UsageError, match=f"property toy .*toy.py.* {says}; run it under pytest"):
        collect.collect([file])
    assert ids(collect.collect([file, tmp_path / "other.py"], globs=["other_toy"])) == ["other_toy"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import nosuchmodule", "ModuleNotFoundError: No module named 'nosuchmodule'"),
        ("def (", "SyntaxError"),
        ("from embcheck import above\nabove(float('nan'))", r"above\(\) needs a finite number, got nan"),
        ("nosuchname", "NameError"),
    ],
)
def test_file_that_fails_to_import_is_named(tmp_path, text, says):
    """A mistake in a property file is a one-line error with the file and the message."""
    (tmp_path / "toy.py").write_text(text)
    with pytest.raises(UsageError, match=f"property file .*toy.py: .*{says}") as error:
        collect.collect([tmp_path / "toy.py"])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "says"), [("nowhere", "no such file or folder"), ("notes.txt", "not a Python file")])
def test_path_that_is_no_property_file_is_an_error(tmp_path, name, says):
    """--properties must name Python files or folders."""
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match=f"{name}.*{says}"):
        collect.collect([tmp_path / name])


@pytest.mark.parametrize(
    "statement",
    [
        "import embcheck",
        "from embcheck import above, agrees, beats, below, claim, lexicons, measures, nulls, within",
        "from embcheck import Estimate, EmbcheckError, NotMeasurable, Verdict, __version__",
        "from embcheck.checks import collect; collect.collect()",
        "from embcheck.config import config; from pathlib import Path; config.resolve({}, root=Path())",
        "import embcheck.cli",
    ],
)
def test_declaring_and_collecting_is_light(statement):
    """Declaring and collecting properties imports neither torch, numpy nor scipy."""
    code = f"import sys; {statement}; print([m for m in ('torch', 'numpy', 'scipy') if m in sys.modules])"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert found.stdout.strip() == "[]"
