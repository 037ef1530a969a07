"""`compress` in a process of its own."""

import subprocess
import sys
from pathlib import Path


def compress(*arguments: str | Path, cwd: Path | None = None, code: str = "") -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-c", code] if code else [sys.executable, "-m", "compress"]
    return subprocess.run([*start, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=cwd)
