"""The machine that is measured on: what it is, and whether it has other work."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def describe() -> str:
    """Processor, cores and memory."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cores} cores of {_processor()}, {memory:.0f} GiB"


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    fields = {name.strip(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    name = fields.get("model name", platform.processor() or platform.machine())
    family, model = fields.get("cpu family"), fields.get("model")
    return f"an {name} (family {family}, model {model})" if family else name


def load() -> float:
    """Processes that want to run besides this one."""
    path = Path("/proc/loadavg")
    if not path.exists():
        return 0.0
    return max(0.0, int(path.read_text().split()[3].partition("/")[0]) - 1)
