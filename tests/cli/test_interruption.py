"""Signals, in real processes."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from compress.cli.interruption import GRACE_S, REPEAT, Interruption

RUN = """
import sys, tempfile, time
from pathlib import Path
from compress.cli.interruption import REPEAT, Interruption
interruption = Interruption()
with interruption.handled():
    try:
        Path(tempfile.mkdtemp(), "large").write_bytes(bytes(1000))
        print("begun", flush=True)
        {work}
    except KeyboardInterrupt:
        sys.exit(128 + interruption.signal)
"""


def interrupt(work: str, temporary: Path, number: int, times: int = 1) -> tuple[int, float, str]:
    """Exit code, seconds from the first signal to the end, and what was printed."""
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(
        [sys.executable, "-c", RUN.format(work=work)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.5)  # until the work has begun
        started = time.monotonic()
        for _ in range(times):
            process.send_signal(number)
            time.sleep(0.3)
        _, printed = process.communicate(timeout=30)
        return process.returncode, time.monotonic() - started, printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_temporary_file_and_its_own_exit_code(tmp_path: Path, number: int) -> None:
    code, seconds, _ = interrupt("time.sleep(60)", tmp_path, number)
    assert code == 128 + number
    assert seconds < 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("times", "longest"), [(1, 9.0), (2, 3.0)])
def test_a_long_call_into_a_library_is_ended_too(tmp_path: Path, times: int, longest: float) -> None:
    work = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 500_000_000)"  # minutes in C, where no handler runs
    code, seconds, printed = interrupt(work, tmp_path, signal.SIGTERM, times)
    assert code == 128 + signal.SIGTERM
    assert seconds < longest
    assert "run the same command again" in printed
    assert list(tmp_path.iterdir()) == []


def _state() -> tuple[object, ...]:
    return signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), tempfile.gettempdir(), os.environ.get("TMPDIR")


DISCARDED = """
        try:
            time.sleep(60)
        except BaseException:
            pass
        time.sleep(60)
"""


def test_a_signal_whose_exception_a_library_discards_is_sent_again(tmp_path: Path) -> None:
    code, seconds, printed = interrupt(DISCARDED.strip(), tmp_path, signal.SIGTERM)
    assert code == 128 + signal.SIGTERM
    assert printed == ""  # an orderly end, not the forced one
    assert seconds < GRACE_S
    assert list(tmp_path.iterdir()) == []


SLOW_END = """
        try:
            time.sleep(60)
        finally:
            time.sleep(2 * CHECK_EVERY_S)
            print("closed", flush=True)
"""


def test_a_signal_is_not_sent_again_while_the_command_ends(tmp_path: Path) -> None:
    script = RUN.format(work=SLOW_END.strip()).replace("import REPEAT", "import CHECK_EVERY_S")
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30)[0] == "closed\n"
        assert process.returncode == 128 + signal.SIGINT


FINALIZER = """
        import os, signal
        class Dropped:
            def __del__(self):
                {send}
                for _ in range(1000):
                    pass
        while True:
            Dropped(); time.sleep(0.05)
"""


def test_a_signal_that_arrives_in_a_finalizer_is_not_lost(tmp_path: Path) -> None:
    work = FINALIZER.format(send="if Path('now').exists(): Path('now').unlink(); os.kill(os.getpid(), signal.SIGINT)")
    script = RUN.format(work=work.strip())
    (tmp_path / "now").touch()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert process.returncode == 128 + signal.SIGINT
    assert process.stderr == ""  # neither a traceback nor the words of the forced end


def test_a_signal_while_the_folder_is_removed_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: str, **options: bool) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        remove(path, **options)

    remove = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", interrupted)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with Interruption().handled():
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_everything_is_as_before_after_a_command() -> None:
    before = _state()
    interruption = Interruption()
    with interruption.handled():
        inside = Path(tempfile.mkdtemp())
        assert inside.parent.name.startswith("compress-")
    assert _state() == before
    assert not inside.parent.exists()
    assert interruption.signal is None


def test_a_signal_inside_the_hook_of_dropped_exceptions_is_asked_for_again() -> None:
    interruption = Interruption()
    interruption.signal = signal.SIGINT

    def report(_: object) -> None:
        interruption.raise_interrupt(signal.SIGINT, sys._getframe())

    interruption._report_unraisable = report  # called within the hook
    interruption._repeat_lost(SimpleNamespace(exc_type=ValueError))  # type: ignore[arg-type]
    interruption._watched.setblocking(False)
    assert interruption._watched.recv(8) == REPEAT
    interruption._watched.close()
    interruption._waking.close()
