import pytest
from pydantic import ValidationError

from compress.config.devices import load_device
from compress.config.devices.connection import Ssh
from compress.core.errors import DeviceError

PROFILE = """name: my_board
title: My board
kind: cpu
runtime: onnxruntime
connection: {connection}
precision: {{floats: fp32, activations: uint8, symmetric_activations: false, source: "the runtime's manual"}}
"""


@pytest.fixture
def load(tmp_path):
    def read(connection):
        (tmp_path / "my_board.yaml").write_text(PROFILE.format(connection=connection))
        return load_device("my_board.yaml", tmp_path)

    return read


def test_a_device_in_reach_needs_no_figures_for_estimates(load):
    device = load("{ssh: pi@board.local, port: 2200, python: ~/venv/bin/python}")
    assert device.connection == Ssh(ssh="pi@board.local", port=2200, python="~/venv/bin/python")
    assert device.hardware is None
    assert type(device).model_validate_json(device.model_dump_json()) == device


@pytest.mark.parametrize("host", ["board", "pi@board.local", "192.168.1.7", "::1", "[fe80::1%eth0]", "a_b-c"])
def test_hosts(host):
    assert Ssh(ssh=host).ssh == host


@pytest.mark.parametrize("host", ["-oProxyCommand=touch x", "", "a b", "a;b", "$(id)", "`id`", "a\nb", "board\n"])
def test_hosts_that_ssh_or_a_shell_could_take_for_something_else(host):
    with pytest.raises(ValidationError):
        Ssh(ssh=host)


@pytest.mark.parametrize(
    "option",
    ["ProxyCommand=touch x", "proxycommand=x", "LocalCommand=x", "PKCS11Provider=x", "KnownHostsCommand=x", "Include=x", "User",
     "ProxyJump=a;b", "HostName=$(id)", "User=`id`", "BatchMode=no", "ForwardAgent=yes",
     "StrictHostKeyChecking=no", "userknownhostsfile=~/.ssh/authorized_keys", "GlobalKnownHostsFile=/tmp/x",
     "UpdateHostKeys=yes", "IdentityAgent=/tmp/socket", "VerifyHostKeyDNS=yes", "ControlPath=/tmp/x"],
)  # fmt: skip
def test_a_profile_cannot_run_programs_write_files_or_weaken_the_check_of_host_keys(option):
    with pytest.raises(ValidationError):
        Ssh(ssh="board", options=(option,))


def test_options_that_it_may_give():
    options = ("IdentityFile=~/.ssh/my key", "ProxyJump=me@jump.host:22,other", "user=pi")
    assert Ssh(ssh="board", options=options).options == options


@pytest.mark.parametrize(
    ("connection", "match"),
    [
        ("remote", r"line 5: connection: expected 'local', got 'remote'"),
        ("{ssh: board, port: 99999}", r"line 5: connection\.port: must be at most 65535, got 99999"),
        ("{ssh: board, options: [IdentityFil=x]}", "did you mean 'IdentityFile'"),
        ("{host: board}", r"connection\.ssh: this required key is missing"),
    ],
)
def test_faults_are_told_with_their_line(load, connection, match):
    with pytest.raises(DeviceError, match=match):
        load(connection)
