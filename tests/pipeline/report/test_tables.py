"""Tables of a report."""

import subprocess
import sys

from compress.core.run_record import RunRecord
from compress.pipeline.report.tables import summary_rows


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


def test_the_lines_of_the_terminal_need_no_matplotlib() -> None:
    code = "import sys, compress.pipeline.report.tables, compress.core.format_quantity\n"
    code += "print({'torch', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
