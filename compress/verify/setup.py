"""`compress verify --setup aarch64`: an Arm Python with ONNX Runtime in the user's cache folder; root is not needed.

    Debian's arm64 packages   apt-get, with an index of its own; apt checks signatures and hashes
    NumPy, ONNX Runtime       pip download of the aarch64 wheels, the version of ONNX Runtime being this machine's
    unpacked together, tested under the emulator, and only then renamed to their final place

The downloads of an interrupted attempt are used by the next one.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from filelock import FileLock, Timeout

from compress.core.atomic_files import sha256
from compress.core.errors import BusyError, DeviceError, StoreError
from compress.core.progress import NullReporter, Reporter
from compress.verify.machines import (
    DEFAULT_PROCESSOR,
    INSTALL_QEMU,
    READY,
    cache_folder,
    emulated,
    emulator,
    installed_version,
    link_roots,
)

MIRROR = "http://deb.debian.org/debian"
"""Plain HTTP is enough: the index is signed and contains the hash of every package."""
SUITE = "bookworm"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES = (
    *("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libffi8"),
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"),
)
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
ERROR_LINES = 3


def set_up(isa: str = "aarch64", reporter: Reporter | None = None) -> Path:
    """Set up the emulated machine, unless it is set up.

    Args:
        isa: Only `aarch64` needs to be set up.
        reporter: Reports each step.

    Returns:
        Its folder.

    Raises:
        DeviceError: Another instruction set, a tool is missing, there is no network, or the machine does not run.
        BusyError: Another process is setting it up.
        StoreError: The cache folder is not writable, or full.
    """
    if isa != "aarch64":
        msg = f"nothing to set up for {isa!r}; allowed: aarch64"
        raise DeviceError(msg)
    report = (reporter or NullReporter()).line
    base, version = cache_folder(), metadata.version("onnxruntime")
    if installed_version(base) == version:
        report(f"aarch64 is set up already, with ONNX Runtime {version}: {base}")
        return base
    _require_tools()
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(base.with_name(base.name + ".lock"), blocking=False):
            _build(base.with_name(base.name + ".partial"), base, version, report)
    except Timeout as error:
        msg = f"another process is setting up {base}; wait for it to end"
        raise BusyError(msg) from error
    except OSError as error:
        msg = f"cannot write {base}: {error.strerror or error}; free some space, or name another folder in COMPRESS_CACHE"
        raise StoreError(msg) from error
    report(f"aarch64 is set up with ONNX Runtime {version}: {base}")
    return base


def _require_tools() -> None:
    emulator()
    missing = [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]
    if missing:
        msg = f"setting up aarch64 needs {' and '.join(missing)}, which Debian and Ubuntu have; do it there"
        raise DeviceError(msg)
    if not KEYRING.exists():
        msg = f"{KEYRING} is missing, so Debian's packages cannot be checked; {INSTALL_QEMU} debian-archive-keyring"
        raise DeviceError(msg)


def _build(partial: Path, base: Path, version: str, report: Callable[[str], None]) -> None:
    debs, wheels = partial / "debs", partial / "wheels"
    for folder in (debs, wheels):
        folder.mkdir(parents=True, exist_ok=True)
    report(f"downloading {len(PACKAGES)} arm64 packages of Debian {SUITE}")
    _download_debs(debs, partial / "apt")
    report(f"downloading NumPy and ONNX Runtime {version} for aarch64")
    _download_wheels(wheels, version)
    report("unpacking, and testing under the emulator")
    machine = partial / "machine"
    shutil.rmtree(machine, ignore_errors=True)
    sources = _unpack(debs, wheels, machine / "root")
    link_roots(machine)
    _test(machine, version)
    facts = {"onnxruntime": version, "debian": SUITE, "sha256": {path.name: sha256(path) for path in sources}}
    (machine / READY).write_text(json.dumps(facts, indent=1), encoding="utf-8")
    _replace(base, machine)
    shutil.rmtree(partial)


def _replace(base: Path, machine: Path) -> None:
    """Put the new machine in place of an old one."""
    old = base.with_name(base.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    with suppress(FileNotFoundError):
        base.rename(old)
    machine.rename(base)
    shutil.rmtree(old, ignore_errors=True)


def _download_debs(debs: Path, apt: Path) -> None:
    """Newest packages of the suite, by an apt that ignores this machine's own packages."""
    for path in ("state/lists/partial", "cache/archives/partial", "etc"):
        (apt / path).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(f"deb [signed-by={KEYRING}] {MIRROR} {SUITE} main\n", encoding="utf-8")
    settings = {
        "Dir::State": apt / "state",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "Dir::Etc": apt / "etc",
        "Dir::Etc::sourcelist": apt / "sources.list",
        "APT::Architecture": "arm64",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
    }
    lines = [*_proxies(), *(f'{key} "{value}";' for key, value in settings.items()), 'APT::Architectures { "arm64"; };']
    (apt / "apt.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ("env", f"APT_CONFIG={apt / 'apt.conf'}", "apt-get", "-q")
    what = f"downloading Debian's arm64 packages from {MIRROR}"
    _call((*command, "update"), what, folder=debs, network=True)
    _call((*command, "download", *PACKAGES), what, folder=debs, network=True)


def _proxies() -> list[str]:
    """This machine's proxies for apt, as lines of its configuration."""
    dump = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=False)  # noqa: S607
    return [line for line in dump.stdout.splitlines() if "::Proxy" in line]


def _download_wheels(wheels: Path, version: str) -> None:
    command = (sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:")
    platforms = (part for name in PLATFORMS for part in ("--platform", name))
    arguments = (*command, *platforms, "--python-version=3.11", f"--dest={wheels}", f"onnxruntime=={version}", "numpy")
    _call(arguments, "downloading aarch64 wheels with pip", folder=wheels, network=True)


def _unpack(debs: Path, wheels: Path, root: Path) -> list[Path]:
    """Unpack the newest of each package into `root`; returns the files that were used."""
    site = root / "site"
    site.mkdir(parents=True)
    used = [_newest(debs, f"{name}_*.deb") for name in PACKAGES]
    for deb in used:
        _call(("dpkg-deb", "-x", str(deb), str(root)), f"unpacking {deb.name}", folder=root)
    for name in ("numpy", "onnxruntime"):
        used.append(wheel := _newest(wheels, f"{name}-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    return used


def _newest(folder: Path, pattern: str) -> Path:
    """The newest file: an earlier attempt may have left an older version beside it."""
    files = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime)
    if not files:
        msg = f"{folder} holds no {pattern} although its download succeeded; remove {folder.parent} and set up again"
        raise DeviceError(msg)
    return files[-1]


def _test(folder: Path, version: str) -> None:
    machine = emulated(folder, DEFAULT_PROCESSOR)
    check = f"import sys; sys.path.insert(0, {machine.site!r}); import onnxruntime as o; assert o.__version__ == {version!r}"
    _call((*machine.command, "-c", check), "starting ONNX Runtime under the emulator", folder=folder)


def _call(command: Sequence[str], what: str, *, folder: Path, network: bool = False) -> None:
    """Run a tool and wait for it.

    Raises:
        DeviceError: It failed; the message ends with its last error lines.
    """
    process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)  # noqa: S603
    if process.returncode == 0:
        return
    lines = [line.strip() for line in (process.stderr or process.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "ERROR"))] or lines
    reason = "; ".join(errors[-ERROR_LINES:]) or f"exit status {process.returncode} of {shlex.join(command[:4])}"
    hint = "; is the network in reach? Finished downloads are kept: run the same command again to continue" if network else ""
    msg = f"{what} failed: {reason.rstrip('.')}{hint}"
    raise DeviceError(msg)
