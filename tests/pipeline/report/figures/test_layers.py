"""Pictures of layers."""

from typing import Any

from compress.core.entries import Tables
from compress.core.record import Quantity, StageRecord
from compress.core.run_record import RunRecord
from compress.pipeline.report.figures.layers import SHOWN, layer_figures


def with_tables(record: RunRecord, tables: Tables) -> StageRecord:
    return record.stages[2].model_copy(update={"tables": tables})


def milliseconds(value: float | None) -> dict[str, Any]:
    quantity = Quantity.missing("ms", "fused") if value is None else Quantity.measured(value, "ms")
    return quantity.model_dump(mode="json")


def test_times_widths_and_noise_are_drawn_from_their_tables(record: RunRecord) -> None:
    times = tuple(
        {"module": f"conv{index}", "student_ms": milliseconds(1.0 + index), "artifact_ms": milliseconds(index or None)}
        for index in range(20)
    )
    widths = tuple({"layer": f"conv{index}", "out_before": 64, "out_after": 64 - index} for index in range(20))
    noise = tuple({"layer": f"conv{index}", "sqnr_db": 20.0 + index} for index in range(20))
    stage = with_tables(record, {"layers_time": times, "layers": widths, "layer_sqnr": noise})
    pictures = {picture.name.rpartition("_")[2]: picture for picture in layer_figures(stage)}
    assert set(pictures) == {"layers", "widths", "sqnr"}
    assert pictures["layers"].alternative.startswith("conv19: student 20.0 ms, artifact 19.0 ms; conv18")
    assert pictures["widths"].alternative.startswith("conv19 45 of 64, conv18")
    assert pictures["sqnr"].alternative.startswith("conv0 20.0 dB, conv1")
    assert all(picture.alternative.count("conv") == SHOWN for picture in pictures.values())


def test_a_layer_without_a_kernel_says_so(record: RunRecord) -> None:
    rows = tuple({"module": name, "student_ms": milliseconds(1.0), "artifact_ms": milliseconds(None)} for name in "ab")
    (picture,) = layer_figures(with_tables(record, {"layers_time": rows}))
    assert "no kernel of its own" in picture.svg


def test_tables_of_other_columns_or_without_a_change_have_no_picture(record: RunRecord) -> None:
    assert list(layer_figures(record.stages[1])) == []  # its `layers` have other columns
    same = tuple({"layer": name, "out_before": 8, "out_after": 8} for name in "ab")
    odd = ({"layer": "a", "sqnr_db": None}, {"layer": "b", "sqnr_db": "—"})
    assert list(layer_figures(with_tables(record, {"layers": same, "layer_sqnr": odd, "layers_time": ({"module": 3},)}))) == []
