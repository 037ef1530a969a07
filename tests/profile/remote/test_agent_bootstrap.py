import errno
import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from compress.profile.remote import agent_bootstrap
from compress.profile.remote.agent_bootstrap import MARK, load, prepare, refuse, say


def zipped(source: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("__main__.py", source)
    return buffer.getvalue()


WRITES = "import sys; print('ran', sys.argv[1], sys.argv[3]); open(sys.argv[2] + '/left', 'w').close()"


def receive(monkeypatch, workdir: Path, agent: bytes, *, sent: bytes | None = None, digest: str | None = None) -> None:
    """Run `load` on what a client sends."""
    header = {"size": len(agent), "sha256": digest or hashlib.sha256(agent).hexdigest(), "workdir": str(workdir), "lease_s": 5}
    stream = io.BytesIO(json.dumps(header).encode() + b"\n" + (agent if sent is None else sent))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    monkeypatch.setattr(sys, "argv", [])
    load()


def messages(text: str) -> list[dict[str, str]]:
    return [json.loads(line.removeprefix(MARK)) for line in text.splitlines() if line.startswith(MARK)]


def test_the_agent_runs_with_its_folder_and_nothing_is_left(monkeypatch, tmp_path, capsys):
    receive(monkeypatch, tmp_path, zipped(WRITES))
    assert capsys.readouterr().out == "ran serve 5\n"
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_the_agent_fails(monkeypatch, tmp_path):
    with pytest.raises(ZeroDivisionError):
        receive(monkeypatch, tmp_path, zipped("1 / 0"))
    assert list(tmp_path.iterdir()) == []


def test_an_agent_that_was_changed_on_the_way_does_not_run(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit):
        receive(monkeypatch, tmp_path, zipped(WRITES), digest="0" * 64)
    assert messages(capsys.readouterr().out) == [{"error": "hash", "text": "the agent"}]
    assert list(tmp_path.iterdir()) == []


def test_a_stream_that_ends_early_starts_nothing(monkeypatch, tmp_path, capsys):
    agent = zipped(WRITES)
    with pytest.raises(SystemExit):
        receive(monkeypatch, tmp_path, agent, sent=agent[:-1])
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


def test_an_old_python_is_refused_before_anything_is_read(monkeypatch, capsys):
    monkeypatch.setattr(agent_bootstrap, "OLDEST", (99, 0))
    with pytest.raises(SystemExit) as end:
        load()
    assert end.value.code == 1
    assert messages(capsys.readouterr().out) == [{"error": "python old", "text": sys.version.split()[0]}]


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, "disk full"), (errno.EDQUOT, "disk full"), (errno.EACCES, "workdir")]
)
def test_a_folder_that_cannot_be_made_is_reported_by_its_cause(monkeypatch, capsys, number, kind):
    def fail(**_):
        raise OSError(number, "no way")

    monkeypatch.setattr(agent_bootstrap.tempfile, "mkdtemp", fail)
    with pytest.raises(SystemExit):
        prepare({"workdir": "/somewhere"}, b"")
    (message,) = messages(capsys.readouterr().out)
    assert message == {"error": kind, "text": "no way: /somewhere"}


def test_a_home_folder_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "work").mkdir()
    folder = Path(prepare({"workdir": "~/work"}, b"agent"))
    assert folder.parent == tmp_path / "work"
    assert (folder / "agent.pyz").read_bytes() == b"agent"


def test_a_message_is_one_line_with_the_mark(capsys):
    say(text="two\nlines")
    with pytest.raises(SystemExit):
        refuse("kind", "why")
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(MARK) for line in lines)
    assert [json.loads(line.removeprefix(MARK)) for line in lines] == [{"text": "two\nlines"}, {"error": "kind", "text": "why"}]
