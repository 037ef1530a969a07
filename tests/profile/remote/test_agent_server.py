"""The agent's own code, run here without SSH."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from compress.profile.remote import ssh
from compress.profile.remote.agent_bootstrap import MARK
from compress.profile.remote.agent_zip import agent, loader


def talk(workdir: Path, *orders: bytes) -> list[dict]:
    code, package = loader(), agent()
    header = {"size": len(package), "sha256": hashlib.sha256(package).hexdigest(), "workdir": str(workdir), "lease_s": 60}
    sent = b"%d\n" % len(code) + code + json.dumps(header).encode() + b"\n" + package + b"".join(orders)
    done = subprocess.run([sys.executable, "-c", ssh.START], input=sent, capture_output=True, check=True)
    return [json.loads(line.removeprefix(MARK)) for line in done.stdout.decode().splitlines()]


def put(name: str, data: bytes, digest: str | None = None) -> bytes:
    order = {"do": "put", "name": name, "size": len(data), "sha256": digest or hashlib.sha256(data).hexdigest()}
    return json.dumps(order).encode() + b"\n" + data


def test_files_arrive_are_checked_and_vanish(tmp_path):
    said = talk(tmp_path, put("a/b", b"x" * 100_000), put("c", b"y", digest="0"), put("d", b""))
    assert [next(iter(message)) for message in said] == ["hello", "put", "error", "put", "gone"]
    assert said[2] == {"error": "hash", "text": "c"}
    assert said[-1] == {"gone": True}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside", "."])
def test_nothing_is_written_outside_the_folder(tmp_path, name):
    said = talk(tmp_path, put(name, b"x"), put("inside", b"y"))
    assert said[1]["error"] == "put"
    assert said[2] == {"put": "inside"}
    assert list(tmp_path.iterdir()) == []


def test_a_message_cut_short_ends_it(tmp_path):
    said = talk(tmp_path, put("a", b"x" * 1000)[:-10])
    assert [next(iter(message)) for message in said] == ["hello", "gone"]
    assert list(tmp_path.iterdir()) == []
