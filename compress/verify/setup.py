"""`compress verify --setup aarch64`: install an Arm Python with ONNX Runtime in the user's cache folder, without root.

    arm64 packages of Debian   apt-get with a separate index; apt checks signatures and hashes
    NumPy, ONNX Runtime        pip download of aarch64 wheels, with this machine's version of ONNX Runtime

All files are unpacked into a temporary folder, tested under the emulator, and then renamed to their final folder. Downloads of
an interrupted setup are used by the next one.
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
from compress.core.language import gettext
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
"""HTTP is sufficient, because the index is signed and contains the hash of every package."""
SUITE = "bookworm"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES = (
    *("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libffi8"),
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"),
)
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
ERROR_LINES = 3


def set_up(isa: str = "aarch64", reporter: Reporter | None = None) -> Path:
    """Set up the emulated machine, unless it is set up already.

    Args:
        isa: Instruction set; only `aarch64` needs a setup.
        reporter: Reports each step.

    Returns:
        Folder of the emulated machine.

    Raises:
        DeviceError: The instruction set needs no setup, a tool is missing, a download failed, or the machine does not run.
        BusyError: Another process is setting it up.
        StoreError: The cache folder is not writable, or the disk is full.
    """
    if isa != "aarch64":
        msg = gettext("nothing to set up for {isa!r}; only aarch64 needs a setup", isa=isa)
        raise DeviceError(msg)
    report = (reporter or NullReporter()).line
    base, version = cache_folder(), metadata.version("onnxruntime")
    if installed_version(base) == version:
        report(gettext("aarch64 is already set up with ONNX Runtime {version}: {base}", version=version, base=base))
        return base
    _require_tools()
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(base.with_name(base.name + ".lock"), blocking=False):
            _build(base.with_name(base.name + ".partial"), base, version, report)
    except Timeout as error:
        msg = gettext("another process is setting up {base}; wait for it to end", base=base)
        raise BusyError(msg) from error
    except OSError as error:
        msg = gettext(
            "cannot write {base}: {strerror}; free some space, or set COMPRESS_CACHE to another folder",
            base=base,
            strerror=error.strerror or error,
        )
        raise StoreError(msg) from error
    report(gettext("aarch64 is set up with ONNX Runtime {version}: {base}", version=version, base=base))
    return base


def _require_tools() -> None:
    emulator()
    missing = [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]
    if missing:
        msg = gettext(
            "the setup of aarch64 needs {missing} of Debian or Ubuntu; run it on such a system", missing=" and ".join(missing)
        )
        raise DeviceError(msg)
    if not KEYRING.exists():
        msg = gettext(
            "{keyring} is missing, so Debian's packages cannot be checked; {install_qemu} debian-archive-keyring",
            keyring=KEYRING,
            install_qemu=INSTALL_QEMU,
        )
        raise DeviceError(msg)


def _build(partial: Path, base: Path, version: str, report: Callable[[str], None]) -> None:
    debs, wheels = partial / "debs", partial / "wheels"
    for folder in (debs, wheels):
        folder.mkdir(parents=True, exist_ok=True)
    report(gettext("downloading {count} arm64 packages of Debian {suite}", count=len(PACKAGES), suite=SUITE))
    _download_debs(debs, partial / "apt")
    report(gettext("downloading NumPy and ONNX Runtime {version} for aarch64", version=version))
    _download_wheels(wheels, version)
    report(gettext("unpacking, and testing under the emulator"))
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
    """Replace the old machine by the new one."""
    old = base.with_name(base.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    with suppress(FileNotFoundError):
        base.rename(old)
    machine.rename(base)
    shutil.rmtree(old, ignore_errors=True)


def _download_debs(debs: Path, apt: Path) -> None:
    """Download the packages with an apt configuration that ignores the packages of this machine."""
    for path in ("state/lists/partial", "cache/archives/partial", "etc"):
        (apt / path).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(
        f"deb [signed-by={KEYRING}] {MIRROR} {SUITE} main\n",
        encoding="utf-8",
    )
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
    action = gettext("downloading Debian's arm64 packages from {mirror}", mirror=MIRROR)
    _call((*command, "update"), action, folder=debs, network=True)
    _call((*command, "download", *PACKAGES), action, folder=debs, network=True)


def _proxies() -> list[str]:
    """Configuration lines of apt for the proxies of this machine."""
    dump = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=False)  # noqa: S607
    return [line for line in dump.stdout.splitlines() if "::Proxy" in line]


def _download_wheels(wheels: Path, version: str) -> None:
    command = (sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:")
    platforms = (part for name in PLATFORMS for part in ("--platform", name))
    arguments = (*command, *platforms, "--python-version=3.11", f"--dest={wheels}", f"onnxruntime=={version}", "numpy")
    _call(arguments, gettext("downloading aarch64 wheels with pip"), folder=wheels, network=True)


def _unpack(debs: Path, wheels: Path, root: Path) -> list[Path]:
    """Unpack the newest version of each package into `root`; returns the package files."""
    site = root / "site"
    site.mkdir(parents=True)
    files = [_newest(debs, f"{name}_*.deb") for name in PACKAGES]
    for deb in files:
        _call(("dpkg-deb", "-x", str(deb), str(root)), gettext("unpacking {name}", name=deb.name), folder=root)
    for name in ("numpy", "onnxruntime"):
        files.append(wheel := _newest(wheels, f"{name}-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    return files


def _newest(folder: Path, pattern: str) -> Path:
    """The newest file; an earlier setup may have downloaded an older version."""
    files = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime)
    if not files:
        msg = gettext(
            "{folder} contains no {pattern} although its download succeeded; remove {parent} and set up again",
            folder=folder,
            pattern=pattern,
            parent=folder.parent,
        )
        raise DeviceError(msg)
    return files[-1]


def _test(folder: Path, version: str) -> None:
    machine = emulated(folder, DEFAULT_PROCESSOR)
    check = f"import sys; sys.path.insert(0, {machine.site!r}); import onnxruntime as o; assert o.__version__ == {version!r}"
    _call((*machine.command, "-c", check), gettext("starting ONNX Runtime under the emulator"), folder=folder)


def _call(command: Sequence[str], action: str, *, folder: Path, network: bool = False) -> None:
    """Run a tool and wait for it; `action` describes it in messages.

    Raises:
        DeviceError: The tool failed; the message has its last error lines.
    """
    process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)  # noqa: S603
    if process.returncode == 0:
        return
    lines = [line.strip() for line in (process.stderr or process.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "ERROR"))] or lines
    reason = "; ".join(errors[-ERROR_LINES:]) or gettext(
        "exit status {returncode} of {command}", returncode=process.returncode, command=shlex.join(command[:4])
    )
    hint = gettext("; check the network and run the same command again, which continues the download") if network else ""
    msg = gettext("{action} failed: {reason}{hint}", action=action, reason=reason.rstrip("."), hint=hint)
    raise DeviceError(msg)
