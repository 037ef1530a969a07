import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import venv
from pathlib import Path

import onnx
import psutil
import pytest

from compress.config.yaml_writer import dump
from compress.core.errors import DeviceError
from compress.core.progress import NullReporter
from compress.profile.remote import session as sessions
from compress.profile.remote.inspect_device import inspect_device
from compress.profile.remote.measure import measure_rows
from compress.profile.remote.session import RemoteSession
from compress.profile.settings import MeasurementSettings
from tests.profile.onnx_models import network
from tests.profile.remote.eventually import eventually

SHORT = MeasurementSettings(threads=1, seconds=0.05, warmup_seconds=0.01, min_runs=6)
LONG = MeasurementSettings(threads=1, seconds=120.0, warmup_seconds=0.01, min_runs=6)


def profile(path, device, plan=SHORT):
    return measure_rows({"artifact": path}, None, device, plan, batch=1, reporter=NullReporter())


class Background:
    """A long measurement under way in a thread, with what came of it."""

    def __init__(self, path, device, server):
        self.error = None
        self.device, self.path, self.server = device, path, server
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            profile(self.path, self.device, LONG)
        except DeviceError as error:
            self.error = str(error)

    def __enter__(self):
        self.thread.start()
        assert eventually(lambda: any("work" in process.cmdline() for process in self.server.agents())), self.error
        time.sleep(1.0)  # the worker measures by now
        return self

    def __exit__(self, *_):
        self.thread.join(60)
        assert not self.thread.is_alive()


def test_refused_and_unknown_hosts_and_silence(device):
    with pytest.raises(
        DeviceError, match=r"my_board \(127\.0\.0\.1\): it refused the connection: is sshd running there, on port 1\?"
    ):
        inspect_device(device(port=1))
    with pytest.raises(DeviceError, match=r"its name cannot be resolved: check `ssh: nowhere\.invalid`"):
        inspect_device(device(ssh="nowhere.invalid"))
    wanted = pytest.raises(DeviceError, match="it did not answer within 1 s: is it switched on")
    with socket.create_server(("127.0.0.1", 0)) as silent, wanted:
        inspect_device(device(port=silent.getsockname()[1], connect_timeout_s=1))


def test_a_server_that_says_its_name_and_no_more(device, monkeypatch):
    monkeypatch.setattr(sessions, "START_S", 0.5)
    wanted = pytest.raises(DeviceError, match=r"it did not answer within 1\.5 s after ssh was started")
    opened = []

    def greet():
        opened.append(silent.accept()[0])
        opened[0].sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    with socket.create_server(("127.0.0.1", 0)) as silent:
        threading.Thread(target=greet, daemon=True).start()
        with wanted:
            inspect_device(device(port=silent.getsockname()[1], connect_timeout_s=1))
        opened[0].close()


def test_a_server_that_hangs_up(device):
    with socket.create_server(("127.0.0.1", 0)) as rude:
        threading.Thread(target=lambda: rude.accept()[0].close(), daemon=True).start()
        with pytest.raises(DeviceError, match="it closed the connection before the login"):
            inspect_device(device(port=rude.getsockname()[1]))


def test_a_key_that_is_not_let_in(device, server):
    with pytest.raises(DeviceError, match=r"authentication failed: `ssh -o BatchMode=yes .* must work without a question"):
        inspect_device(device(options=server.options("other_key")))


def test_a_host_key_that_changed_and_one_that_is_new(device, server):
    board = device()
    server.know("other_key")
    with pytest.raises(DeviceError, match=r"its host key has changed .*ssh-keygen -R '\[127\.0\.0\.1\]:"):
        inspect_device(board)
    (server.folder / "known_hosts").unlink()
    with pytest.raises(DeviceError, match="its host key is not known yet: connect once by hand"):
        inspect_device(board)
    assert not (server.folder / "known_hosts").exists(), "a host key was written, although the user's configuration allows it"


def test_no_client_here(device, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(DeviceError, match=r"OpenSSH's client does not start .*apt install openssh-client"):
        inspect_device(device())


def test_no_python_there(device):
    with pytest.raises(DeviceError, match=rf"there is no '/none/python3' \(it is Linux {os.uname().machine}\): install"):
        inspect_device(device(python="/none/python3"))


def test_a_python_too_old(device, program):
    code = "import sys; sys.version_info = (3, 8); sys.version = '3.8.10 (default)'; exec(sys.argv[3])"
    old = program("old", f'#!/bin/sh\nexec {sys.executable} -u -c "{code}" "$@"\n')
    with pytest.raises(DeviceError, match=r"on the device is Python 3\.8\.10; install Python 3\.10 or later"):
        inspect_device(device(python=old))
    ancient = program("ancient", "#!/bin/sh\necho \"AttributeError: 'file' object has no attribute 'buffer'\" >&2\nexit 1\n")
    with pytest.raises(DeviceError, match="on the device is Python 2"):
        inspect_device(device(python=ancient))


def test_a_program_of_another_machine(device, tmp_path):
    header = struct.pack("<HHIQQQIHHHHHH", 2, 0x2A, 1, 0x400000, 64, 0, 0, 64, 56, 1, 0, 0, 0)  # for a SuperH processor
    alien = tmp_path / "alien"
    alien.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + header + bytes(56))
    alien.chmod(0o755)
    with pytest.raises(DeviceError, match=rf"wrong architecture: .*alien' on the device .* it is Linux {os.uname().machine}"):
        inspect_device(device(python=str(alien)))


def test_a_device_that_is_not_what_the_profile_says(device):
    with pytest.raises(
        DeviceError, match=rf"wrong architecture: the profile says riscv64, the device says {os.uname().machine}"
    ):
        inspect_device(device(architecture="riscv64"))


def test_a_runtime_of_another_machine(device, tiny, tmp_path, program):
    fake = tmp_path / "fake" / "onnxruntime"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text("raise ImportError('capi.so: wrong ELF class: ELFCLASS32')")
    python = program("python-with-alien", f'#!/bin/sh\nPYTHONPATH={fake.parent} exec {sys.executable} "$@"\n')
    with pytest.raises(DeviceError, match="wrong architecture: ONNX Runtime on the device is built for another machine"):
        profile(tiny, device(python=python))


def test_no_runtime_there(device, tiny, tmp_path):
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    python = str(tmp_path / "bare/bin/python")
    with pytest.raises(
        DeviceError, match=rf"the runtime is missing: No module named .* Install it on the device: {python} -m pip install"
    ):
        profile(tiny, device(python=python))
    assert "No module named" in inspect_device(device(python=python)).no_onnxruntime


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_file_that_is_larger_than_the_disk_of_the_device_is_refused_and_leaves_nothing(device, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        big = tmp_path / "big.onnx"
        big.write_bytes(os.urandom(4 << 20))
        full = r"its disk is full: models/big.onnx: No space left on device; 0\.\d MB free .* set `workdir:`"
        with RemoteSession(device(workdir=str(disk))) as remote, pytest.raises(DeviceError, match=full):
            remote.put(big, "models/big.onnx")
        assert eventually(lambda: not list(disk.iterdir()))
        assert shutil.disk_usage(disk).used == 0
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("blocks", [1, 512])
def test_a_full_disk(device, save, program, blocks):
    """The agent does not fit, or the model does not; a limit on file sizes stands for the disk."""
    python = program("python-on-full-disk", f'#!/bin/sh\nulimit -f {blocks}\nexec {sys.executable} "$@"\n')
    big = save("big.onnx", network(channels=60_000))
    with pytest.raises(DeviceError, match=r"its disk is full: .*\. Free some space, or set `workdir:`"):
        profile(big, device(python=python))


def test_no_place_to_work_in(device):
    with pytest.raises(DeviceError, match="its temporary folder cannot be created: No such file or directory: /nonexistent"):
        inspect_device(device(workdir="/nonexistent"))


def test_files_that_change_on_the_way(device, tiny, monkeypatch, program):
    change = "import os; [os.write(1, d.replace(bytes([4]), bytes([5]))) for d in iter(lambda: os.read(0, 65536), bytes())]"
    python = program("python-on-bad-wire", f'#!/bin/sh\n{sys.executable} -u -c "{change}" | {sys.executable} "$@"\n')
    with pytest.raises(DeviceError, match="the agent was received with another SHA-256"):
        inspect_device(device(python=python))
    monkeypatch.setattr(sessions, "sha256", lambda _: "0" * 64)
    with pytest.raises(DeviceError, match=r"models/0/tiny\.onnx was received with another SHA-256 than it was sent with"):
        profile(tiny, device())


def test_a_model_that_the_runtime_refuses(device, save):
    path = save("newer.onnx", network())
    model = onnx.load(path)
    model.opset_import[0].version = 99
    onnx.save(model, path)
    with pytest.raises(DeviceError, match=r"its runtime \(onnxruntime\) rejects the model: .*opset is newer than this runtime"):
        profile(path, device())


def test_the_connection_is_lost(device, tiny, server):
    with Background(tiny, device(), server) as under_way:
        server.drop()
    assert "the connection was lost while measuring" in under_way.error


def test_the_agent_is_killed(device, tiny, server):
    with Background(tiny, device(), server) as under_way:
        (keeper,) = [process for process in server.agents() if "work" not in process.cmdline()]
        keeper.kill()
    assert re.search(r"the agent on the device was killed or crashed with \d+ while measuring", under_way.error)


def test_the_worker_is_killed(device, tiny, server):
    with Background(tiny, device(), server) as under_way:
        (worker,) = [process for process in server.agents() if "work" in process.cmdline()]
        worker.kill()
    assert "killed by signal 9, as happens when memory runs out" in under_way.error


def test_it_takes_too_long(device, tiny):
    with pytest.raises(DeviceError, match=r"timeout: it did not finish measuring within `timeout_s: 1` in the connection"):
        profile(tiny, device(timeout_s=1.0), LONG)


def test_silence_ends_the_agent(device, server, monkeypatch, tmp_path):
    """The client neither speaks nor hangs up, as when its network is gone: the lease runs out."""
    monkeypatch.setattr(sessions, "LEASE_S", 1.0)
    monkeypatch.setattr(sessions, "HEARTBEAT_S", 60.0)
    file = tmp_path / "input"
    file.write_text("x")
    with RemoteSession(device()) as remote:
        folder = Path(remote.facts["folder"])
        assert folder.is_dir()
        assert eventually(lambda: not folder.exists())
        with pytest.raises(DeviceError, match="the agent on the device ended: it received nothing for 1 s"):
            remote.put(file, "inputs/0.npy")


CLIENT = """
import sys
from pathlib import Path
from compress.config.devices import load_device
from compress.profile.profile_files import profile_files
profile_files([Path(sys.argv[1])], [load_device(sys.argv[2])], seconds=120)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_client_is_stopped(device, tiny, server, tmp_path, number):
    profile_path = tmp_path / "my_board.yaml"
    profile_path.write_text(dump(device().model_dump(mode="json", exclude_none=True)))
    command = [sys.executable, "-c", CLIENT, str(tiny), str(profile_path)]
    # tests that run in the background ignore SIGINT, and their children would too
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True, preexec_fn=heed) as client:
        assert eventually(lambda: any("work" in process.cmdline() for process in server.agents()), 60)
        helpers = psutil.Process(client.pid).children(recursive=True)
        os.killpg(client.pid, number)
        client.communicate(timeout=60)
    assert client.returncode != 0
    assert eventually(lambda: not any(helper.is_running() for helper in helpers)), "ssh was left behind here"
