from __future__ import annotations

import io
import sys
import time
from types import SimpleNamespace

import pytest

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


def test_a_notebook_shows_a_bar_and_keeps_nothing_of_it(monkeypatch):
    """In a kernel, whose stderr is no terminal, long work shows a bar in one output, which is empty at the end."""
    shown = []
    handle = SimpleNamespace(update=lambda data, raw: shown.append((data, raw)))

    def display(data, *, raw, display_id):
        assert (shown, raw, display_id) == ([], True, True)
        shown.append((data, raw))
        return handle

    shell = SimpleNamespace(kernel=object(), config={})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(progress, "_DELAY", 1e-9)
    for _ in progress.track(range(3), "work", naming=lambda piece: f"piece {piece}"):
        time.sleep(0.12)
    texts = [data["text/plain"] for data, _ in shown]
    assert any("work" in text and "1/3" in text and "piece 1" in text for text in texts)
    assert (texts[-1], {raw for _, raw in shown}, sys.stderr.getvalue()) == ("", {True}, "")


def test_a_notebook_keeps_nothing_of_work_that_failed(monkeypatch):
    """An exception, or an interruption, in the midst of the work removes the bar as its end does."""
    shown = []
    handle = SimpleNamespace(update=lambda data, raw: shown.append(data["text/plain"]))
    shell = SimpleNamespace(kernel=object(), config={})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=lambda *_, **__: handle))
    monkeypatch.setattr(progress, "_DELAY", 1e-9)

    def work():
        for piece in progress.track(range(3), "work", naming=str):
            time.sleep(0.12)
            if piece:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert shown
    assert shown[-1] == ""
