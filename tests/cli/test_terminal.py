import io
import time

import pytest
from rich.console import Console

from compress.cli.terminal import SafeConsole, Terminal, table


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_table_aligns_numbers_right_and_prints_brackets_as_they_are() -> None:
    console = Console(file=io.StringIO(), width=60)
    table(console, "Times", ("file", "ms"), [("a[0].onnx", "1.5"), ("b", "12.25")])
    lines = [line.rstrip() for line in printed(console).splitlines()]
    assert lines == ["Times", "file          ms", "a[0].onnx    1.5", "b          12.25"]


def test_a_line_is_neither_wrapped_nor_read_as_markup() -> None:
    console = Console(file=io.StringIO(), width=20)
    Terminal(console).line("[bold] " + "x" * 60)
    assert printed(console) == "[bold] " + "x" * 60 + "\n"


def test_bars_of_short_steps_leave_nothing_in_a_file() -> None:
    console = Console(file=io.StringIO(), width=60)
    with Terminal(console).bar("epoch", 3) as bar:
        bar.advance(2, "loss 0.5")
    assert printed(console).strip() == ""


def test_a_long_step_leaves_a_line_of_its_progress_in_a_file_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), width=20)
    with Terminal(console).bar("train teacher", 4000) as bar:
        for second in (30.0, 61.0, 90.0, 122.0):
            now[0] = second
            bar.advance(1000, f"loss {second}")
    assert printed(console) == "train teacher: 2000 of 4000 loss 61.0\ntrain teacher: 4000 of 4000 loss 122.0\n"


EVIL = "Board [/x] [bold]\x1b[2J\u202e"


def test_markup_and_escapes_in_texts_are_shown_and_do_nothing() -> None:
    console = SafeConsole(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    table(console, EVIL, (EVIL,), [(EVIL,)])
    Terminal(console).line(EVIL)
    console.print(EVIL, markup=False, highlight=False)
    assert printed(console).count("Board [/x] [bold]␛[2J�") == 5
    assert "\x1b[2J" not in printed(console)


def test_a_bar_shows_markup_and_escapes_as_text() -> None:
    console = SafeConsole(file=io.StringIO(), width=120, force_terminal=True)
    with Terminal(console).bar(EVIL, 3) as bar:
        bar.advance(3, EVIL)
    assert "Board [/x] [bold]␛[2J" in printed(console)
    assert "\x1b[2J" not in printed(console)
