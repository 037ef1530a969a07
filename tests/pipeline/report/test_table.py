"""Cells and the notes below a table."""

from compress.core.record import Quantity
from compress.pipeline.report.table import Cell, Notes, Table
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


def measured(value: float) -> Cell:
    return Notes(ACCURACY).cell("power_w", Quantity.measured(value, "W", "a sensor"))


def missing(reason: str) -> Cell:
    return Notes(ACCURACY).cell("power_w", Quantity.missing("W", reason))


def test_rows_and_columns_without_a_measurement_become_lines_with_the_reason() -> None:
    rows = (
        (Cell("latency"), measured(1), measured(2), missing("off")),
        (Cell("power"), missing("no sensor"), missing("no sensor"), missing("off")),
        (Cell("energy"), missing("no sensor"), missing("no sensor"), missing("off")),
        (Cell("runtime"), Cell("a"), Cell("b"), Cell("c")),
    )
    folded = Table("t", ("", "one", "two", "three"), rows).fold()
    assert folded.header == ("", "one", "two")
    assert [row[0].text for row in folded.rows] == ["latency", "runtime"]
    assert folded.folded == (("power, energy", "no sensor; off"), ("three", "off"))


def test_a_row_with_one_measurement_stays() -> None:
    table = Table(
        "t", ("", "one", "two"), ((Cell("power"), measured(1), missing("no sensor")), (Cell("size"), measured(1), measured(1)))
    )
    assert table.fold() == table


def test_columns_without_any_quantity_are_left_out() -> None:
    rows = ((Cell("a"), measured(1), Cell("—")), (Cell("b"), measured(2), Cell("—")))
    folded = Table("t", ("", "one", "two"), rows).fold()
    assert (folded.header, folded.folded) == (("", "one"), ())


def test_a_table_of_nothing_but_missing_values_has_only_lines() -> None:
    table = Table("t", ("", "one"), ((Cell("power"), missing("no sensor")),)).fold()
    assert (table.rows, table.folded) == ((), (("power", "no sensor"),))
