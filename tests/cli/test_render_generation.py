"""The table of the speed of language models."""

from rich.console import Console

from compress.cli.render_generation import COLUMNS, show_generation
from compress.core.record import Quantity
from compress.profile.generation.measure import UNITS


def row(value):
    quantities = {name: Quantity.measured(value, unit).model_dump(mode="json") for name, unit in UNITS.items()}
    return {"subject": "artifact", "device": "host", "context": 64, **quantities}


def test_each_row_has_all_columns():
    console = Console(record=True, width=240)
    show_generation(console, [row(12.5)])
    text = console.export_text()
    assert "artifact" in text
    assert "64" in text
    assert text.count("12.5") >= len(COLUMNS) - 3
    assert "time to first token" in text


def test_nothing_is_shown_without_rows():
    console = Console(record=True)
    show_generation(console, [])
    assert console.export_text() == ""
