"""What a run was measured on."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

__all__ = ["description"]

_PACKAGES = ("embcheck", "torch", "numpy", "scipy", "transformers", "faiss-cpu", "scikit-learn", "gensim", "vecscope")


def description() -> dict[str, Any]:
    """Processor, threads, memory, load and versions, as JSON types."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_average": os.getloadavg()[0],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in _PACKAGES},
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    fields = {key: re.search(rf"^{key}\s*:\s*(.+)$", text, re.MULTILINE) for key in ("model name", "model")}
    name = fields["model name"][1] if fields["model name"] else platform.machine()
    model = f", model {fields['model'][1]}" if fields["model"] else ""
    wide = ", ".join(flag for flag in ("avx2", "avx512f", "amx_bf16") if re.search(rf"\b{flag}\b", text))
    return f"{name}{model} ({wide or platform.machine()})"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
