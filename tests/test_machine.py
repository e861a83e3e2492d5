"""How many runs a machine trains at a time, of the cores and the memory that were given to it."""

import pytest

from secondlook.training.machine import cores, memory, side_by_side


@pytest.mark.parametrize(
    ("profile", "many", "gib", "expected"),
    [("full", 4, 32, 4), ("quick", 16, 8, 4), ("quick", 2, 1, 1), ("smoke", 4, 32, 1)],
)
def test_as_many_run_at_a_time_as_there_are_cores_and_memory_for(monkeypatch, profile, many, gib, expected):
    monkeypatch.setattr("secondlook.training.machine.cores", lambda: many)
    monkeypatch.setattr("secondlook.training.machine.memory", lambda: gib * 2**30)
    assert side_by_side(profile) == expected


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        ("0::/", {"cpu.max": "200000 100000", "memory.max": str(3 * 2**30)}, (2, 3)),
        ("0::/a/b", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000", "memory.max": "max"}, (1, 64)),
        ("0::/docker/of-the-host", {"cpu.max": "50000 100000", "memory.max": str(5 * 2**30)}, (1, 5)),
        (
            "4:memory:/x\n2:cpu,cpuacct:/x\n1:name=systemd:/x",
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "300000", "cpu,cpuacct/x/cpu.cfs_period_us": "100000",
             "memory/x/memory.limit_in_bytes": str(7 * 2**30), "memory/memory.limit_in_bytes": str(2**63)},
            (3, 7),
        ),
        ("2:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, (8, 64)),
        ("", {}, (8, 64)),
    ],
    ids=["v2", "v2 above", "v2 of a host", "v1", "v1 without", "none"],
)  # fmt: skip
def test_a_container_counts_the_cores_and_memory_it_was_given(monkeypatch, tmp_path, group, files, expected):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * 2**18}.get)
    for name, text in {"proc/self/cgroup": group, **{f"sys/fs/cgroup/{k}": v for k, v in files.items()}}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n" * bool(text))
    assert (cores(tmp_path), memory(tmp_path) / 2**30) == expected
