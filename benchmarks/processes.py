"""Commands and pieces of code in processes of their own: how long they take and how much memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["embcheck", "python", "seconds"]

_WATCH = """
import re, threading, time

def megabytes(key):
    return int(re.search(key + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

class Watch(threading.Thread):
    '''The most memory of its own, mapped files left out, that this process held while watched.'''

    def __init__(self):
        super().__init__(daemon=True)
        self.before = self.most = megabytes("RssAnon")
        self.done = False

    def run(self):
        while not self.done:
            self.most = max(self.most, megabytes("RssAnon"))
            time.sleep(0.005)
"""


def python(code: str, *arguments: str) -> list[float]:
    """The numbers that a piece of code prints last, in a process of its own. It may use ``megabytes`` and ``Watch``."""
    command = [sys.executable, "-c", _WATCH + code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
    if done.returncode:
        raise RuntimeError(done.stderr)
    return [float(number) for number in done.stdout.split("\n")[-2].split()]


def seconds(command: Sequence[str], folder: Path, allowed: tuple[int, ...] = (0,)) -> float:
    """How long a command takes, from the start of its process to its end."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=_environment())
    spent = time.perf_counter() - started
    if done.returncode not in allowed:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return spent


def embcheck(*arguments: str) -> list[str]:
    """The command that runs embcheck from this environment."""
    return [sys.executable, "-m", "embcheck", *arguments]


def _environment() -> dict[str, str]:
    """Without configuration, away from CI's rules, and with compiled modules kept: what is timed is the work."""
    left_out = {"CI", "PYTHONDONTWRITEBYTECODE"}
    return {k: v for k, v in os.environ.items() if not k.startswith("EMBCHECK_") and k not in left_out}
