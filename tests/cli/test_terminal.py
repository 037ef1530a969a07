import io

from rich.console import Console

from compress.cli.terminal import Terminal, table


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


def test_bars_leave_nothing_in_a_file() -> None:
    console = Console(file=io.StringIO(), width=60)
    with Terminal(console).bar("epoch", 3) as bar:
        bar.advance(2, "loss 0.5")
    assert printed(console).strip() == ""
