"""What machine this is: for the benchmark's record and for ``mnist-fast doctor``."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def processor() -> str:
    """The processor's name as Linux gives it, with family and model (virtual machines may hide the rest)."""
    facts: dict[str, str] = {}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    name = facts.get("model name") or platform.processor() or platform.machine()
    return f"{name} (family {facts['cpu family']} model {facts['model']})" if "cpu family" in facts else name


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def distribution() -> str:
    """The system's name and version, such as "Debian GNU/Linux 12 (bookworm)"."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Cores that the control groups of this process let it use at a time, as containers have it; None: no limit.

    torch and :func:`cores` know nothing of it.
    """
    mounted, limits = root / "sys/fs/cgroup", []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = mounted / controllers  # version 2 has one hierarchy, which names no controllers
        group = top / path.lstrip("/")
        for folder in (
            group,
            *group.parents,
        ):  # within a container the path may be the host's: then only `top` is there
            if controllers:
                limit = f"{_text(folder / 'cpu.cfs_quota_us')} {_text(folder / 'cpu.cfs_period_us')}".split()
            else:
                limit = _text(folder / "cpu.max").split()
            if len(limit) == 2 and limit[0].isdigit():
                limits.append(int(limit[0]) / int(limit[1]))
            if folder == top:
                break
    return min(limits, default=None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
