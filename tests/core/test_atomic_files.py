import errno
import hashlib
import subprocess
import sys

import pytest

from compress.core.atomic_files import name_disk_errors, sha256, write_text, write_with
from compress.core.errors import StoreError


def test_a_file_appears_whole(tmp_path):
    write_text(tmp_path / "deep" / "a.txt", "whole")
    assert (tmp_path / "deep" / "a.txt").read_text() == "whole"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.txt"]


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def break_off(aside):
        aside.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_with(path, break_off)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_sha256_is_the_standard_one(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_a_library_that_reports_a_full_disk_in_words_is_understood(tmp_path):
    with pytest.raises(StoreError, match="--out"), name_disk_errors(tmp_path):
        raise RuntimeError("Error while serializing: IoError: No space left on device (os error 28)")


def test_other_faults_pass_unchanged(tmp_path):
    with pytest.raises(ConnectionResetError), name_disk_errors(tmp_path):
        raise ConnectionResetError(errno.ECONNRESET, "reset")


def test_a_full_disk_gives_a_store_error_and_leaves_nothing(tmp_path):
    code = (
        "import resource, signal, sys; from pathlib import Path; from compress.core.atomic_files import write_text\n"
        "from compress.core.errors import StoreError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_text(Path(sys.argv[1]), 'x' * 100_000)\n"
        "except StoreError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "big")], capture_output=True, text=True, check=True)
    assert "free some space" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_library_with_words_of_its_own_for_a_full_disk_gives_a_store_error(tmp_path):
    code = (
        "import resource, signal, sys; from pathlib import Path; from compress.core.atomic_files import write_with\n"
        "from compress.core.errors import StoreError\n"
        "def fill(path):\n"
        "    try: path.write_bytes(bytes(100_000))\n"
        "    except OSError: raise RuntimeError('PytorchStreamWriter failed') from None\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_with(Path(sys.argv[1]), fill)\n"
        "except StoreError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "big")], capture_output=True, text=True, check=True)
    assert "free some space" in done.stdout
    assert list(tmp_path.iterdir()) == []
