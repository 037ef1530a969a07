"""Cells and the notes below a table."""

from compress.core.record import Quantity
from compress.pipeline.report.table import Notes
from compress.tasks.classification import ACCURACY


def test_numbers_of_one_provenance_share_a_note() -> None:
    notes = Notes(ACCURACY)
    cells = [
        notes.cell("accuracy", Quantity.measured(0.9, "fraction", "torch, test split", runs=540)),
        notes.cell("latency_ms", Quantity.measured(2.0, "ms", "ONNX Runtime", runs=900)),
        notes.cell("accuracy", Quantity.measured(0.8, "fraction", "torch, test split", runs=100)),
        notes.cell("power_w", Quantity.missing("W", "no sensor")),
    ]
    assert [cell.note for cell in cells] == [1, 2, 1, 3]
    assert notes.sentences() == (
        "● measured: torch, test split; n = 100 to 540",
        "● measured: ONNX Runtime; n = 900",
        "○ not measured: no sensor",
    )


def test_a_difference_of_the_deciding_metric_is_in_points() -> None:
    notes = Notes(ACCURACY)
    assert notes.cell("accuracy_drop", Quantity.measured(0.0111, "fraction")).text == "1.11 points"
    assert notes.cell("sparsity_drop", Quantity.measured(0.0111, "fraction")).text == "1.11 %"


def test_a_cell_without_a_quantity_is_a_dash() -> None:
    cell = Notes(ACCURACY).cell("macs", None)
    assert (cell.text, cell.how, cell.note) == ("—", None, None)
