"""First code on a device: receive the agent on the standard input, write it into a temporary folder and start it.

It runs by `exec`, before any module of this package is on the device. It reads one line of JSON, `{"size", "sha256", "workdir",
"lease_s"}`, then the agent's zip file.
"""

import errno
import hashlib
import json
import os
import runpy
import shutil
import sys
import tempfile

MARK = "compress-agent:"
"""Prefix of every message; login scripts may print other lines."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
OLDEST = (3, 10)


def say(**message: object) -> None:
    """Send one message."""
    print(MARK + json.dumps(message), flush=True)


def refuse(error: str, text: str) -> None:
    """Report why the agent cannot start, and exit."""
    say(error=error, text=text)
    sys.exit(1)


def prepare(header: "dict[str, object]", agent: bytes) -> str:
    """Create the folder and write the agent into it.

    Args:
        header: The line of JSON.
        agent: The zip file.

    Returns:
        Path of the folder.
    """
    folder, workdir = "", os.path.expanduser(str(header["workdir"])) if header["workdir"] else None  # noqa: PTH111
    try:
        folder = tempfile.mkdtemp(prefix="compress-", dir=workdir)
        with open(os.path.join(folder, "agent.pyz"), "wb") as file:  # noqa: PTH118, PTH123
            file.write(agent)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        full = error.errno in FULL or "No usable temporary directory" in str(error)
        refuse("disk full" if full else "workdir", f"{error.strerror or error}: {folder or header['workdir'] or 'TMPDIR'}")
    return folder


def load() -> None:
    """Receive the agent and run it in this process."""
    if sys.version_info < OLDEST:
        refuse("python old", sys.version.split()[0])
    stream = sys.stdin.buffer
    header = json.loads(stream.readline())
    agent = stream.read(header["size"])
    if len(agent) < header["size"]:
        sys.exit(1)
    if hashlib.sha256(agent).hexdigest() != header["sha256"]:
        refuse("hash", "the agent")
    folder = prepare(header, agent)
    try:
        sys.argv = ["agent", "serve", folder, str(header["lease_s"])]
        runpy.run_path(os.path.join(folder, "agent.pyz"), run_name="__main__")  # noqa: PTH118
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    load()
