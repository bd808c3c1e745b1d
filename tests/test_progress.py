from __future__ import annotations

import importlib.util
import io
import sys
import time
from types import SimpleNamespace

from embcheck import progress


class Terminal(io.StringIO):
    def isatty(self):  # noqa: D102 - the stream's own
        return True


def test_nothing_is_shown_where_there_is_no_terminal(monkeypatch):
    """Without a terminal the items pass through and stderr stays empty."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(progress, "_DELAY", 0.0)
    assert list(progress.track([1, 2, 3], "work")) == [1, 2, 3]
    assert sys.stderr.getvalue() == ""


def test_short_work_shows_nothing(monkeypatch):
    """On a terminal, work of under two seconds shows no bar."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress.track(iter([1, 2]), "work", 2, naming=str)) == [1, 2]
    assert "work" not in sys.stderr.getvalue()


def test_long_work_shows_a_bar_and_removes_it(monkeypatch):
    """Longer work shows what it is and how far, and cleans up after itself."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(progress, "_DELAY", 1e-9)
    for _ in progress.track(range(3), "work", naming=lambda piece: f"piece {piece}"):
        time.sleep(0.12)  # tqdm draws at most ten times a second
    shown = sys.stderr.getvalue()
    assert "work" in shown
    assert "/3" in shown
    assert "piece 1" in shown
    assert shown.endswith("\r")


def test_a_notebook_shows_a_bar(monkeypatch):
    """In a notebook's kernel, whose stderr is no terminal, long work shows a bar as well, and nothing warns."""
    shell = SimpleNamespace(kernel=object(), config={})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(progress, "_DELAY", 1e-9)
    for _ in progress.track(range(3), "work"):
        time.sleep(0.12)
    assert "work" in sys.stderr.getvalue()
    assert "Warning" not in sys.stderr.getvalue()


def test_a_notebook_without_widgets_has_one_line(monkeypatch):
    """Without ipywidgets the bar is the terminal's, drawn over itself, with no line for each step."""
    shell = SimpleNamespace(kernel=object(), config={})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(progress, "_DELAY", 1e-9)
    for _ in progress.track(range(3), "work"):
        time.sleep(0.12)
    assert "work" in sys.stderr.getvalue()
    assert "\n" not in sys.stderr.getvalue()
