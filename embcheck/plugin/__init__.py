"""The pytest plugin's door: options, the marker and the fixture. The rest is imported once a run asks for it.

A run asks by an option, an environment variable, a ``[tool.embcheck]`` table, a path to properties, a declared property
or the fixture. Others pay for nothing but this module, except for controllers of xdist, which see no tests.
`embcheck.plugin.hooks` has the hooks of those that ask.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, Any

import pytest

from embcheck.config.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from embcheck.plugin.items import ClaimNotHeld
    from embcheck.table import EmbeddingTable

__all__ = ["ClaimNotHeld", "embcheck_table"]

_HOOKS = "embcheck-hooks"
_LARGEST = 64 * 2**20
_FIXTURE = "embcheck_table"


def __getattr__(name: str) -> Any:
    """The exception of a check that does not hold, imported when it is asked for (PEP 562)."""
    if name == "ClaimNotHeld":
        from embcheck.plugin.items import ClaimNotHeld

        return ClaimNotHeld
    raise AttributeError(f"module 'embcheck.plugin' has no attribute {name!r}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add every option of the command line, with ``--embcheck-`` in front. Values are checked where all are."""
    group = parser.getgroup("embcheck", "embcheck: claims about the geometry of embedding matrices")
    for option in OPTIONS:
        about: dict[str, Any] = {"dest": f"embcheck_{option.name}", "help": option.help.replace("%", "%%")}
        if option.kind == "flag":
            about |= {"action": "store_const", "const": True}
        else:
            about["action"] = "append" if option.multiple else "store"
            about["metavar"] = option.metavar or "|".join(option.choices)
        group.addoption(f"--embcheck-{option.flag}", **about)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the hooks where this run asks for them."""
    config.addinivalue_line("markers", "embcheck: a declared property, checked on a model")
    if _asks(config):
        _wake(config)


def _asks(config: pytest.Config) -> bool:
    """Whether anything in the command line, the environment or the project's files speaks of embcheck."""
    if any(config.getoption(f"embcheck_{option.name}") is not None for option in OPTIONS):
        return True
    if config.getoption("dist", "no") != "no":
        return True  # this process will collect nothing, and so never see a property
    if any(name.startswith("EMBCHECK_") for name in os.environ) or any("embcheck" in str(arg) for arg in config.args):
        return True
    root = config.rootpath.resolve()
    return any(_mentions(folder / "pyproject.toml") for folder in (root, *root.parents))


def _mentions(file: os.PathLike[str]) -> bool:
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # noqa: PTH116 - as below
            return True  # whoever reads it says what is wrong
        with open(file, "rb") as opened:  # noqa: PTH123 - the quickest way, for a file that is seldom there
            return b"embcheck" in opened.read(_LARGEST)
    except OSError:
        return False


def _wake(config: pytest.Config) -> ModuleType | None:
    """Import the hooks and register them; none where they are registered already."""
    if config.pluginmanager.has_plugin(_HOOKS):
        return None
    from embcheck.plugin import hooks

    config.pluginmanager.register(hooks, _HOOKS)
    return hooks


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> None:
    """Wake up for the first declared property: there can be none before `embcheck.claims` was imported."""
    if "embcheck.claims" in sys.modules and (hooks := _wake(collector.config)) is not None:
        hooks.pytest_pycollect_makeitem(collector, name, obj)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Wake up for the first test that takes the fixture."""
    if _FIXTURE in metafunc.fixturenames and (hooks := _wake(metafunc.config)) is not None:
        hooks.pytest_generate_tests(metafunc)


@pytest.fixture(scope="session")
def embcheck_table(request: pytest.FixtureRequest) -> Iterator[EmbeddingTable]:
    """The embedding table of each model in turn, for tests with plain asserts and for hypothesis' strategies."""
    from embcheck.plugin import hooks

    yield from hooks.provided(request)
