"""Threads follow the CPU quota of the container, under both versions of cgroups."""

import os
from pathlib import Path

import pytest

from tidemark.inference.cpu_quota import cores, cpu_quota


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)


def cgroup(root: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    (root / "proc").write_text(membership)
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root, root / "proc"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "1600000 100000\n"}, 8),
        ("0::/pod/app\n", {"pod/cpu.max": "200000 100000\n", "pod/app/cpu.max": "max 100000\n"}, 2),
        ("0::/pod/app\n", {"pod/cpu.max": "600000 100000\n", "pod/app/cpu.max": "250000 100000\n"}, 3),
        (
            "0::/a/b/c\n",
            {"cpu.max": "700000 100000\n", "a/cpu.max": "120000 100000\n", "a/b/c/cpu.max": "max 1000\n"},
            2,
        ),
        ("0::/host/path/that/is/not/mounted\n", {"cpu.max": "300000 100000\n"}, 3),
        (
            "3:cpu,cpuacct:/\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "50000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            1,
        ),
        ("3:cpu:/docker/x\n", {"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        (
            "3:cpu:/pod/app\n",
            {
                "cpu/pod/cpu.cfs_quota_us": "300000\n",
                "cpu/pod/cpu.cfs_period_us": "100000\n",
                "cpu/pod/app/cpu.cfs_quota_us": "-1\n",
                "cpu/pod/app/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ("4:memory:/\n", {}, 8),
        ("0::/\n", {"cpu.max": "nonsense\n"}, 8),
    ],
)
def test_cores_are_at_most_the_quota_rounded_up(
    tmp_path: Path, membership: str, files: dict[str, str], expected: int
) -> None:
    assert cores(*cgroup(tmp_path, membership, files)) == expected


def test_without_cgroups_the_affinity_decides(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path, tmp_path / "missing") is None
    assert cores(tmp_path, tmp_path / "missing") == 8
