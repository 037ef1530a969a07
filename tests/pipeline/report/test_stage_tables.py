"""Tables of one stage."""

from compress.core.fact import Fact
from compress.core.run_record import RunRecord
from compress.pipeline.report.stage_tables import ROWS_SHOWN, own_tables, skipped_table
from compress.tasks.classification import ACCURACY


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
