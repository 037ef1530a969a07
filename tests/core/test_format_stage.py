from compress.core.format_stage import format_stage_line
from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.tasks.classification import ACCURACY


def test_a_stage_line_names_all_four_figures_and_fits(record: RunRecord) -> None:
    for stage in record.stages:
        line = format_stage_line(stage, stage.before, ACCURACY)
        assert len(line) <= 120
        assert all(word in line for word in (stage.name, "accuracy", "size", "MACs", "latency"))
    assert "97.04 % (−0.37)" in format_stage_line(record.stages[1], record.stages[1].before, ACCURACY)


def test_a_change_of_latency_is_that_of_the_session_that_timed_both(record: RunRecord) -> None:
    now, gain = Quantity.measured(2.0, "ms", "here"), Quantity.measured(1.25, "1", "in turns")
    stage = record.stages[1].model_copy(update={"after": {"latency_ms": now}, "results": {"speedup_vs_before": gain}})
    slow = {"latency_ms": Quantity.measured(1.0, "ms", "here, an hour ago")}
    assert "latency 2.00 ms (−20.0%)" in format_stage_line(stage, slow, ACCURACY)
    apart = stage.model_copy(update={"results": {}})
    assert "latency 2.00 ms (+100.0%)" in format_stage_line(apart, slow, ACCURACY)


def test_a_stage_line_without_figures_does_not_invent_them(record: RunRecord) -> None:
    bare = record.stages[0].model_copy(update={"after": {"latency_ms": Quantity.estimated(2.0, "ms", "m", band=(1.0, 4.0))}})
    line = format_stage_line(bare, {}, ACCURACY)
    assert line.count("—") == 3
    assert "~2.00 ms" in line
