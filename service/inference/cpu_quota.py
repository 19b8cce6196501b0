"""How many cores this process may use: its affinity, and the CPU quota of its container (cgroup version 1 and 2)."""

import math
import os
from pathlib import Path, PurePosixPath

CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP_OF_PROCESS = Path("/proc/self/cgroup")


def cores(root: Path = CGROUP_ROOT, membership: Path = CGROUP_OF_PROCESS) -> int:
    """Return the number of cores that this process may use, at least 1; a quota of 1.5 cores counts as 2.

    Parameters
    ----------
    root : Path
        Where the cgroup file systems are mounted.
    membership : Path
        The file that lists the process's cgroups, a line `hierarchy:controllers:path` for each.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root, membership)
    return available if quota is None else max(1, min(available, math.ceil(quota)))


def cpu_quota(root: Path, membership: Path) -> float | None:
    """Return the smallest CPU quota, in cores, of the process's cgroup and those that contain it; None without one."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            quotas += [_quota_v2(folder) for folder in _folders(root, path)]
        elif "cpu" in controllers.split(","):
            for mount in (controllers, "cpu", "cpu,cpuacct"):
                quotas += [_quota_v1(folder) for folder in _folders(root / mount, path)]
    limits = [quota for quota in quotas if quota is not None]
    return min(limits, default=None)


def _folders(root: Path, path: str) -> list[Path]:
    """Return a cgroup's folder and its ancestors'. Inside a container the path may be the host's and not exist."""
    parts = PurePosixPath(path.lstrip("/")).parts
    return [root.joinpath(*parts[:depth]) for depth in range(len(parts) + 1) if ".." not in parts[:depth]]


def _quota_v2(folder: Path) -> float | None:
    """Read `cpu.max`: "max 100000" or "50000 100000", a quota and a period in microseconds."""
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(folder: Path) -> float | None:
    """Read `cpu.cfs_quota_us`, which is -1 without a quota, and its period."""
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
        period = int((folder / "cpu.cfs_period_us").read_text(encoding="utf-8"))
        return quota / period if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
