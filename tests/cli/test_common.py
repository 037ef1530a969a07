import pytest
import typer

from compress.cli.common import INTERRUPTED, resumable, terminal


@pytest.mark.parametrize(("rank", "told"), [("0", True), ("1", False)])
def test_an_interruption_says_how_to_resume(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str, told: bool
) -> None:
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(typer.Exit) as caught, resumable():
        raise KeyboardInterrupt
    assert caught.value.exit_code == INTERRUPTED
    assert ("run the same command again" in capsys.readouterr().err) is told


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), resumable():
        raise ZeroDivisionError


def test_only_the_first_process_prints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RANK", "1")
    terminal().print("hello")
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("RANK", "0")
    terminal().print("x" * 150)
    assert capsys.readouterr().out == "x" * 150 + "\n"
