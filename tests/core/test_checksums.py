import shutil
import subprocess
from pathlib import Path

import pytest

from compress.core.checksums import CHECKSUMS, changed_files, hash_files, is_inside, read_checksums, write_checksums
from compress.core.errors import StoreError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.bin", "deep/b.bin", "with space"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    write_checksums(tmp_path, hash_files(tmp_path, [path for path in tmp_path.rglob("*") if path.is_file()]))
    return tmp_path


def test_untouched_files_have_their_checksums(folder: Path) -> None:
    assert changed_files(folder) == ()
    assert set(read_checksums(folder)) == {"a.bin", "deep/b.bin", "with space"}


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_sha256sum_reads_the_list(folder: Path) -> None:
    assert subprocess.run(["sha256sum", "-c", "--quiet", CHECKSUMS], cwd=folder, check=False).returncode == 0
    (folder / "a.bin").write_bytes(b"other")
    assert subprocess.run(["sha256sum", "-c", "--status", CHECKSUMS], cwd=folder, check=False).returncode == 1


def test_a_changed_a_missing_and_a_linked_file_are_named(folder: Path) -> None:
    (folder / "a.bin").write_bytes(b"b.bin")
    (folder / "deep" / "b.bin").unlink()
    (folder / "other").write_bytes(b"with space")
    (folder / "with space").unlink()
    (folder / "with space").symlink_to(folder / "other")
    assert set(changed_files(folder)) == {"a.bin", "deep/b.bin", "with space"}


@pytest.mark.parametrize("contents", [b"", b"\xff\xfe", b"nonsense\n", b"abc  a.bin\n", b"0" * 64 + b"  ../../etc/passwd\n"])
def test_a_damaged_list_is_the_damage(folder: Path, contents: bytes) -> None:
    (folder / CHECKSUMS).write_bytes(contents)
    assert changed_files(folder) == (CHECKSUMS,)


def test_every_changed_bit_of_the_list_is_noticed(folder: Path) -> None:
    path = folder / CHECKSUMS
    good = path.read_bytes()
    for index in range(len(good)):
        for bit in (0, 2, 5, 7):
            path.write_bytes(good[:index] + bytes([good[index] ^ 1 << bit]) + good[index + 1 :])
            assert changed_files(folder), (index, bit)


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../a", "a/../../b", "a\nb", "a\\b"])
def test_a_name_outside_the_folder_or_over_two_lines_is_not_listed(tmp_path: Path, name: str) -> None:
    assert not is_inside(name)
    with pytest.raises(StoreError, match="cannot be listed"):
        write_checksums(tmp_path, {name: "0" * 64})
    assert list(tmp_path.iterdir()) == []
