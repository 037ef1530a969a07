"""Build the agent: one zip file that Python runs, with modules of this package."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[3]
MODULES = (
    "compress/config/devices/cpu_info.py",
    "compress/core/language.py",
    "compress/core/errors.py",
    "compress/core/memory_errors.py",
    "compress/core/bootstrap.py",
    "compress/profile/latency/arrival.py",
    "compress/profile/latency/interleave.py",
    "compress/profile/memory/probe.py",
    "compress/profile/power/*.py",
    "compress/backends/runner_protocol.py",
    "compress/backends/onnxruntime_runner.py",
    "compress/backends/converted/*_runner.py",
    "compress/profile/remote/agent_sensors.py",
    "compress/profile/remote/agent_server.py",
    "compress/profile/remote/agent_bootstrap.py",
    "compress/profile/remote/trtexec.py",
    "compress/profile/remote/agent_worker.py",
)
"""Modules that run on a device, as glob patterns; they import only the standard library, numpy, runtimes and each other."""
STAND_INS = {
    "compress/core/record.py": "compress/profile/remote/agent_record.py",
    "compress/backends/converted/sidecar.py": "compress/profile/remote/agent_sidecar.py",
}
MAIN = '''\
"""python agent.pyz serve FOLDER LEASE | work | memory MODEL THREADS RUNS SHAPES"""

import os
import sys
import typing

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
if sys.version_info < (3, 11):
    typing.Self = typing.Any  # type: ignore[misc]

job = sys.argv.pop(1)
if job == "serve":
    from compress.profile.remote.agent_server import main
elif job == "work":
    from compress.profile.remote.agent_worker import main
else:
    from compress.profile.memory.probe import main
main()
'''
EPOCH = (1980, 1, 1, 0, 0, 0)


def agent() -> bytes:
    """The zip file; its bytes depend only on the sources."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        sources = {str(path.relative_to(ROOT)): path for pattern in MODULES for path in sorted(ROOT.glob(pattern))}
        sources |= {name: ROOT / path for name, path in STAND_INS.items()}
        packages = {str(parent) for name in sources for parent in PurePosixPath(name).parents if parent.name}
        texts = {"__main__.py": MAIN} | {f"{name}/__init__.py": "" for name in sorted(packages)}
        texts |= {name: path.read_text(encoding="utf-8") for name, path in sources.items()}
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def loader() -> bytes:
    """Source of `agent_bootstrap`, which receives the zip file."""
    return Path(__file__).with_name("agent_bootstrap.py").read_bytes()
