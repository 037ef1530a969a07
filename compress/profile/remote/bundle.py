"""The agent as one file: a zip that Python runs, made of modules of this package as they stand."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
MODULES = (
    "compress/devices/cpu.py",
    "compress/errors.py",
    "compress/statistics.py",
    "compress/profile/interleave.py",
    "compress/profile/memory_probe.py",
    "compress/profile/power/*.py",
    "compress/profile/runners/base.py",
    "compress/profile/runners/onnxruntime.py",
    "compress/profile/remote/clocks.py",
    "compress/profile/remote/keeper.py",
    "compress/profile/remote/loader.py",
    "compress/profile/remote/networks.py",
    "compress/profile/remote/trtexec.py",
    "compress/profile/remote/worker.py",
    "compress/profile/stamps.py",
)
"""What runs on a device, as glob patterns; it imports the standard library, numpy, onnxruntime and itself, nothing else."""
STAND_INS = {"compress/record.py": "compress/profile/remote/light_record.py"}
PACKAGES = ("compress", "compress/devices", "compress/profile", "compress/profile/runners", "compress/profile/remote")
MAIN = '''\
"""python agent.pyz work | memory MODEL THREADS RUNS SHAPES"""

import sys
import typing

if sys.version_info < (3, 11):
    typing.Self = typing.Any  # type: ignore[misc]

if sys.argv.pop(1) == "work":
    from compress.profile.remote.worker import main
else:
    from compress.profile.memory_probe import main
main()
'''
EPOCH = (1980, 1, 1, 0, 0, 0)


@cache
def agent() -> bytes:
    """The zip file; the same bytes for the same sources."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        texts = {"__main__.py": MAIN} | {f"{name}/__init__.py": "" for name in PACKAGES}
        sources = {str(path.relative_to(ROOT)): path for pattern in MODULES for path in sorted(ROOT.glob(pattern))}
        sources |= {name: ROOT / path for name, path in STAND_INS.items()}
        texts |= {name: path.read_text(encoding="utf-8") for name, path in sources.items()}
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def loader() -> bytes:
    """Source of the code that receives it."""
    return Path(__file__).with_name("loader.py").read_bytes()
