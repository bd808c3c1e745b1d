"""The properties that come with embcheck, one file each, as ``pytest --pyargs embcheck.properties`` collects them.

In a wheel the files lie beside this one; in a checkout they are the folder ``properties`` at its top.
"""

from __future__ import annotations

from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2] / "properties"
if (_CHECKOUT / "positive_cosine_bias.py").is_file() and (_CHECKOUT.parent / "pyproject.toml").is_file():
    __path__ = [*__path__, str(_CHECKOUT)]
