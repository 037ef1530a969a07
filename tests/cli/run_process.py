"""`compress` as a user calls it: in this process, which spares a test the seconds of a start, or in one of its own."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import pytest

from compress.cli import main


def compress(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command in this process: its exit code and what it prints. An error that ends it with a traceback is raised."""
    command = ["compress", *map(str, arguments)]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", command)
        patch.setenv("COMPRESS_LANG", "en")
        patch.chdir(cwd or Path.cwd())
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def process(*arguments: str | Path, cwd: Path | None = None, code: str = "") -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, or such a process with other code."""
    start = [sys.executable, "-c", code] if code else [sys.executable, "-m", "compress"]
    return subprocess.run([*start, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=cwd)
