"""On what kind of file system the store lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from mknock.storage.file_systems import file_system_of

MOUNTS = r"""
21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 21 0:30 / /data rw shared:1 - nfs4 server:/export rw
31 21 0:31 / /memory rw,nosuid - tmpfs tmpfs rw
32 21 0:32 / /with\040space rw - tmpfs tmpfs rw
33 21 254:1 / /twice rw - ext4 /dev/vdb rw
34 21 0:33 / /twice rw - tmpfs tmpfs rw
a broken line
35 - xfs
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/knock/knock.db", "ext4"),
        ("/data/knock.db", "nfs4"),
        ("/data", "nfs4"),
        ("/database/knock.db", "ext4"),
        ("/memory/a/b/knock.db", "tmpfs"),
        ("/with space/knock.db", "tmpfs"),
        ("/twice/knock.db", "tmpfs"),
    ],
)
def test_the_nearest_mount_counts(tmp_path: Path, path: str, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)

    assert file_system_of(Path(path), mounts) == kind


def test_where_the_system_does_not_tell_nothing_is_known(tmp_path: Path) -> None:
    assert file_system_of(tmp_path, tmp_path / "none") == ""


def test_a_folder_of_this_machine_has_a_kind(tmp_path: Path) -> None:
    if Path("/proc/self/mountinfo").exists():
        assert file_system_of(tmp_path)
