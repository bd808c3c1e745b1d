"""Conventions of the house that a linter does not know."""

from __future__ import annotations

import ast
from pathlib import Path

import embcheck

ROOT = Path(__file__).parents[1]
PUBLIC = {
    "EmbcheckError",
    "EmbeddingTable",
    "Estimate",
    "NotMeasurable",
    "Result",
    "Run",
    "Verdict",
    "__version__",
    "above",
    "agrees",
    "beats",
    "below",
    "check",
    "claim",
    "compare",
    "diagnose",
    "explore",
    "lexicons",
    "load",
    "measures",
    "needs",
    "nulls",
    "published",
    "strategies",
    "within",
}


def test_every_test_says_the_truth_it_checks() -> None:
    """Every test function has a docstring."""
    bare = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert bare == []


def test_the_public_names_are_the_declared_ones() -> None:
    """The package exports the names that its documentation promises, and no other."""
    assert set(embcheck.__all__) == PUBLIC
    assert all(getattr(embcheck, name) is not None for name in PUBLIC)


def test_every_public_name_of_a_module_exists() -> None:
    """A module's ``__all__`` names what the module has."""
    import importlib
    import pkgutil

    for found in pkgutil.walk_packages(embcheck.__path__, "embcheck."):
        if found.name != "embcheck.__main__":
            module = importlib.import_module(found.name)
            assert all(hasattr(module, name) for name in getattr(module, "__all__", ())), found.name


def test_the_changelog_names_the_version() -> None:
    """The changelog has a section for the version of the package."""
    assert f"## {embcheck.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
