import subprocess
from itertools import pairwise

import pytest

from compress.config.devices import load_device
from compress.config.devices.connection import Ssh
from compress.profile.remote import ssh

BOARD = Ssh(ssh="pi@board", port=2200, connect_timeout_s=7)


@pytest.mark.parametrize("given", ["/opt/a b/python'3", "~/my venv/bin/python", "python3; rm -rf /", "$HOME/`id`"])
def test_paths_reach_the_shell_there_as_they_are(given):
    done = subprocess.run(
        ["sh", "-c", f"printf %s {ssh.path(given)}"], capture_output=True, text=True, env={"HOME": "/h o"}, check=True
    )
    assert done.stdout == (given if not given.startswith("~/") else "/h o/" + given[2:])


def test_the_command_never_asks_and_never_takes_a_host_for_an_option():
    command = ssh.command(Ssh(ssh="board", port=2200, options=("User=pi",)), "true")
    assert command[:3] == ["ssh", "-p", "2200"]
    assert {"BatchMode=yes", "ServerAliveInterval=5", "ConnectTimeout=10", "ForwardAgent=no", "User=pi"} <= set(command)
    assert command[-3:] == ["--", "board", "sh -c true"]


def test_the_remote_line_is_one_argument_of_sh():
    line = ssh.command(BOARD, "echo 'a b'; exit 3")[-1]
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("a b\n", 3)


def test_options_of_the_user_come_after_the_safe_ones():
    """OpenSSH takes the first value of an option: a profile cannot switch host keys off."""
    arguments = ssh.command(Ssh(ssh="board", options=("User=pi",)), "true")
    options = [value for flag, value in pairwise(arguments) if flag == "-o"]
    assert options.index("StrictHostKeyChecking=yes") < options.index("User=pi")
    assert "-p" not in arguments


@pytest.mark.parametrize(
    ("stderr", "meaning"),
    [
        ("WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!", "ssh-keygen -R '[board]:2200'"),
        ("Host key verification failed.", "connect once by hand with `ssh -p 2200 pi@board`"),
        ("ssh: Could not resolve hostname board", "its name cannot be resolved"),
        ("connect to host board port 2200: Connection refused", "is sshd running there, on port 2200?"),
        ("connect to host board: Operation timed out", "it did not answer within 7 s"),
        ("pi@board: Permission denied (publickey).", "authentication failed"),
        ("kex_exchange_identification: Connection closed by remote host", "closed the connection before the login"),
        ("something else", "ssh failed (something else)"),
        ("", "it gave no reason"),
    ],
)
def test_every_failure_of_the_connection_has_a_meaning_and_a_remedy(stderr, meaning):
    assert meaning in ssh.connection_fault(BOARD, stderr)


def test_a_changed_key_counts_before_its_failed_verification():
    both = "REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed."
    assert "another machine has this address" in ssh.connection_fault(BOARD, both)


@pytest.mark.parametrize(
    ("code", "output", "meaning"),
    [
        (ssh.NO_PYTHON, "", "there is no 'python3' (it is Linux aarch64)"),
        (126, "python3: cannot execute: Exec format error", "wrong architecture"),
        (1, "AttributeError: 'file' object has no attribute 'buffer'", "is Python 2"),
        (None, "", "did not answer in time"),
        (1, "boom", "ended with 1 before the agent started; it is Linux aarch64 (boom)"),
    ],
)
def test_every_failure_of_the_start_has_a_meaning(code, output, meaning):
    assert meaning in ssh.start_fault(BOARD, code, "Linux aarch64", output)


def test_a_device_without_a_posix_shell_is_named():
    assert "not a POSIX system" in ssh.start_fault(BOARD, 1, "", "")


@pytest.mark.parametrize(
    "kind",
    [
        "disk full",
        "workdir",
        "hash",
        "put",
        "python old",
        "no runtime",
        "no package",
        "no trtexec",
        "refused",
        "silence",
        "failed",
    ],
)
def test_every_error_of_the_agent_has_a_meaning_that_holds_its_text(kind):
    assert "THE TEXT" in ssh.agent_fault(load_device("jetson"), BOARD, {"error": kind, "text": "THE TEXT"}, "Linux")


def test_a_runtime_of_another_architecture_is_not_called_missing():
    fault = {"error": "no runtime", "text": "libonnx.so: wrong ELF class"}
    assert "wrong architecture" in ssh.agent_fault(load_device("jetson"), BOARD, fault, "Linux armv7l")


def test_the_first_line_reports_the_system_and_a_missing_python():
    line = ssh.start_agent(Ssh(ssh="board", python="/nonexistent/python"))[-1]
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.stdout.startswith(ssh.UNAME)
    assert done.returncode == ssh.NO_PYTHON


@pytest.mark.parametrize("folder", ["/", "/home/pi", "/tmp/compress-a b", "/tmp/compress-x/..", "compress-x", ""])  # noqa: S108
def test_nothing_but_the_folder_of_an_agent_is_removed(folder):
    assert ssh.removal_command(BOARD, folder) is None


def test_the_folder_of_an_agent_is_removed_by_one_line_of_sh():
    command = ssh.removal_command(BOARD, "/my tmp/compress-ab12")
    assert command == ssh.command(BOARD, "rm -rf -- '/my tmp/compress-ab12'")
