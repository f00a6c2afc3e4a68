"""How many cores there are: those that a process is bound to, or that its container may take."""

import os

import pytest

from ppocli.cores import usable_cores


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of eight cores, with the files by which cgroups limit this process's group, `/shop/trainer`."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    (tmp_path / "group").write_text("0::/shop/trainer\n")

    def cores(**limits):
        for name, text in limits.items():
            path = tmp_path / "cgroup" / name.replace("__", "/").replace("cpu_", "cpu.")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return usable_cores(tmp_path / "cgroup", tmp_path / "group")

    return cores


def test_they_are_those_that_this_process_is_bound_to(monkeypatch, machine):
    assert machine() == 8
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert machine() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine() == 1


@pytest.mark.parametrize(
    ("limits", "cores"),
    [
        ({"shop__trainer__cpu_max": "max 100000"}, 8),
        ({"shop__trainer__cpu_max": "250000 100000"}, 2),
        ({"shop__trainer__cpu_max": "50000 100000"}, 1),
        ({"shop__trainer__cpu_max": "max 100000", "shop__cpu_max": "300000 100000"}, 3),  # of all in the shop
        ({"cpu_max": "400000 100000"}, 4),  # what a container sees of itself
        ({"cpu__cpu_cfs_quota_us": "-1", "cpu__cpu_cfs_period_us": "100000"}, 8),
        ({"cpu__cpu_cfs_quota_us": "600000", "cpu__cpu_cfs_period_us": "100000"}, 6),
    ],
)
def test_a_container_s_quota_of_cpu_time_counts(machine, limits, cores):
    assert machine(**limits) == cores
