import pytest

from embcheck.errors import SourceError
from embcheck.run.shelf import Shelf


def test_keeps_what_is_asked_for_and_nothing_else():
    """A pair stays while it is asked for; what is not named is let go before anything is loaded."""
    loads = []
    shelf = Shelf(lambda key: loads.append((key, [k for k in "abc" if shelf.known(k)])) or key.upper())
    assert [shelf.get("a"), shelf.get("a", "b"), shelf.get("a", "c"), shelf.get("c")] == [
        ("A",), ("A", "B"), ("A", "C"), ("C",),
    ]  # fmt: skip
    assert loads == [("a", []), ("b", ["a"]), ("c", ["a"])]
    assert (shelf.known("a"), shelf.known("c")) == (None, "C")


def test_what_fails_is_not_tried_again():
    """A value that can't be loaded raises the same error each time, and what is kept stays."""
    tries = []

    def load(key):
        tries.append(key)
        if key == "bad":
            raise SourceError("no such file")
        return key

    shelf = Shelf(load)
    for _ in range(2):
        with pytest.raises(SourceError, match="no such file"):
            shelf.get("good", "bad")
    assert (tries, shelf.known("good")) == (["good", "bad"], "good")
