"""Tables of a report."""

import subprocess
import sys

from compress.core.fact import Fact
from compress.core.record import RunRecord
from compress.pipeline.report.tables import (
    MANY,
    ROWS_SHOWN,
    files_table,
    own_tables,
    skipped_table,
    summary_rows,
    versions_table,
)
from compress.tasks.classification import ACCURACY


def test_summary_rows_are_square_and_hold_control_and_change(record: RunRecord) -> None:
    rows = summary_rows(record)
    assert len({len(row) for row in rows}) == 1
    names = [row[0] for row in rows]
    assert names == [
        "",
        "teacher",
        "student before distillation",
        "student trained alone",
        "student after distill",
        "artifact",
        "artifact against teacher",
    ]
    assert rows[-1][1:3] == ["−1.11 points", "÷ 154"]
    assert rows[1][1] == "97.96 % ●"


def test_the_summary_compares_latencies_that_were_timed_together(record: RunRecord) -> None:
    cards = [record.teacher.after if record.teacher else {}, record.stages[-1].after]
    slower = [{**card, "latency_ms": card["latency_ms"].model_copy(update={"value": 77.7})} for card in cards]
    teacher = record.teacher.model_copy(update={"after": slower[0]}) if record.teacher else None
    last = record.stages[-1].model_copy(update={"after": slower[1]})
    drifted = record.model_copy(update={"teacher": teacher, "stages": (*record.stages[:-1], last)})
    assert summary_rows(drifted)[1][-1] == summary_rows(record)[1][-1]
    assert summary_rows(drifted)[-2][-1] == summary_rows(record)[-2][-1]
    assert "77.7" not in str(summary_rows(drifted))


def test_what_was_skipped_is_grouped_by_reason(record: RunRecord) -> None:
    skips = (*record.stages[1].skipped, Fact.of("skipped", "head", reason="protected"))
    table = skipped_table(record.stages[1].model_copy(update={"skipped": skips}))
    assert table is not None
    assert [tuple(cell.text for cell in row) for row in table.rows] == [
        ("features.0, features.1, features.2", "depthwise: follows its neighbour"),
        ("head", "protected"),
    ]


def test_a_long_table_is_cut_and_says_so(record: RunRecord) -> None:
    rows = tuple({"layer": f"conv{index}", "ratio": index / 10} for index in range(ROWS_SHOWN + 5))
    (table,) = own_tables(record.stages[1].model_copy(update={"tables": {"layers": rows}}), ACCURACY)
    assert len(table.rows) == ROWS_SHOWN
    assert table.title == f"Layers (the first {ROWS_SHOWN} of {ROWS_SHOWN + 5} rows; record.json holds all)"


def test_versions_that_differ_name_their_stages(record: RunRecord) -> None:
    last = record.stages[-1].model_copy(update={"versions": {**record.stages[-1].versions, "torch": "2.16.0"}})
    table = versions_table(record.model_copy(update={"stages": (*record.stages[:-1], last)}))
    texts = {row[0].text: row[1].text for row in table.rows}
    assert texts["torch"] == "2.15.0 (stage 0, 1, 2, 3, 4); 2.16.0 (stage 5)"
    assert texts["numpy"] == "2.3.1"


def test_a_folder_of_many_files_is_one_row(record: RunRecord) -> None:
    files = {f"figures/{index}.png": "0" * 64 for index in range(MANY + 1)} | {"model.onnx": "1" * 64}
    stage = record.stages[0].model_copy(update={"files": files})
    table = files_table(record.model_copy(update={"teacher": None, "stages": (stage,)}))
    assert [row[1].text for row in table.rows] == ["figures/", "model.onnx"]


def test_the_lines_of_the_terminal_need_no_matplotlib() -> None:
    code = "import sys, compress.pipeline.report.tables, compress.core.format_quantity\n"
    code += "print({'torch', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
