import json
import re
import socket
from pathlib import Path

import pytest

from compress.core.checksums import hash_files, write_checksums
from compress.core.errors import StoreError
from compress.pipeline.card.write_card import write_card
from tests.pipeline.card.conftest import EXAMPLE


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "record.json").write_bytes(EXAMPLE.read_bytes())
    return tmp_path


def test_both_files_stand_beside_the_record_or_where_they_are_wanted(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert write_card(run) == (run / "card" / "README.md", run / "card" / "bom.cdx.json")
    card, bill = write_card(run / "record.json", run / "elsewhere", license_id="Apache-2.0", base_model="me/net")
    assert "license: apache-2.0\n" in card.read_text(encoding="utf-8")
    component = json.loads(bill.read_text(encoding="utf-8"))["metadata"]["component"]
    assert component["licenses"] == [{"expression": "Apache-2.0"}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a run's record"),
        (EXAMPLE.read_bytes()[:5000], "is not a run's record"),
        (b'{"name": "x"}', "is not a run's record"),
        (
            re.sub(rb'"[0-9a-f]{64}"', b'"x"', EXAMPLE.read_bytes()),
            "no card can be",
        ),
    ],
)
def test_a_record_that_cannot_be_used_is_a_clear_error(run: Path, content: bytes, words: str) -> None:
    (run / "record.json").write_bytes(content)
    with pytest.raises(StoreError, match=words):
        write_card(run)
    assert not (run / "card").exists()


def test_an_artifact_that_was_changed_is_refused(run: Path) -> None:
    model = run / "artifacts" / "host" / "model.onnx"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"weights")
    write_checksums(run, hash_files(run, [model, run / "record.json"]))
    model.write_bytes(b"others")
    with pytest.raises(StoreError, match=r"model\.onnx is missing or was changed"):
        write_card(run)
