"""`compress report --open`."""

import webbrowser
from pathlib import Path

import pytest

from compress.cli.open_page import open_page


def test_the_page_is_opened_by_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    open_page(tmp_path / "a b.html")
    assert opened == [f"{tmp_path.as_uri()}/a%20b.html"]


def test_without_a_browser_its_place_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(address: str) -> bool:
        raise webbrowser.Error(address)

    for answer in (fail, lambda _: False):
        monkeypatch.setattr(webbrowser, "open", answer)
        open_page(tmp_path / "report.html")
        assert str(tmp_path / "report.html") in capsys.readouterr().err
