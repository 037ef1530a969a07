import json

import numpy as np
import pytest

from compress.core.bootstrap import bootstrap_interval
from compress.core.record import Quantity
from compress.profile.layers.kernel_to_node import NodeOrigin
from compress.profile.layers.layer_times import LayerTimes, TimedKernel
from compress.profile.layers.ort_profile import interquartile_mean
from compress.profile.layers.tables import RESAMPLES, compare, detail_of, duration, rows_as_json, table


def test_both_files_are_compared_module_by_module(measured):
    rows = compare(measured["student"], measured["artifact"])
    assert set(rows[0]) == {"module", "nodes", "operators", "runs_in", "student_ms", "artifact_ms"}
    by_module = {row["module"]: row for row in rows}
    for module in ("stem.0", "block.conv", "head"):
        for side in ("student_ms", "artifact_ms"):
            assert Quantity.model_validate(by_module[module][side]).how == "measured"
    for side in ("student", "artifact"):
        total = sum(row[f"{side}_ms"]["value"] or 0.0 for row in rows)
        assert total == pytest.approx(measured[side].summed_ms, rel=0.5)
    slowest = [max(row["student_ms"]["value"] or 0, row["artifact_ms"]["value"] or 0) for row in rows]
    assert slowest == sorted(slowest, reverse=True)
    json.dumps(rows)


def test_the_table_gives_the_slowest_first_and_shares_that_add_up(measured):
    rows = table(measured["student"])
    times = [row["time"]["value"] for row in rows]
    assert times == sorted(times, reverse=True)
    assert sum(row["share"]["value"] for row in rows) == pytest.approx(1.0)
    assert all(row["time"]["low"] <= row["time"]["value"] <= row["time"]["high"] for row in rows)


def kernel(module: str, milliseconds: float, name: str = "", number: str = "float") -> TimedKernel:
    node = NodeOrigin(name or module, "Conv", module)
    return TimedKernel("Conv", number, (node,), np.full(8, milliseconds))


def made_of(*kernels: TimedKernel) -> LayerTimes:
    return LayerTimes(kernels, np.ones(8), np.ones(8), {"runtime": "a runtime", "threads": "1"})


def test_shares_add_up_where_kernels_of_one_module_are_slow_in_different_runs():
    node = NodeOrigin("If_0", "If", "If_0")
    runs = np.eye(8) * 9 + 1  # each kernel has one slow run of its own, which the middle half of its times leaves out
    kernels = [TimedKernel("Conv", "float", (node,), took) for took in runs]
    rows = table(made_of(*kernels, kernel("head", 2.0)))
    assert [row["share"]["value"] for row in rows] == pytest.approx([0.8, 0.2])


def test_what_only_one_side_fuses_counts_to_the_same_module():
    add = NodeOrigin("block/Add", "Add", "block")
    fused = TimedKernel("FusedConv", "float", (NodeOrigin("block.conv", "Conv", "block.conv"), add), np.full(8, 3.0))
    apart = TimedKernel("QLinearAdd", "int8", (add,), np.full(8, 1.0))
    before, after = made_of(fused), made_of(kernel("block.conv", 2.0, number="int8"), apart)
    (row,) = compare(before, after)
    assert row["student_ms"]["value"] == pytest.approx(3.0)
    assert row["artifact_ms"]["value"] == pytest.approx(3.0)
    (one, other) = sorted(compare(after, before), key=lambda row: row["module"])
    assert other["artifact_ms"]["value"] == pytest.approx(3.0)
    assert one["artifact_ms"]["how"] == "not measured"


def test_intervals_of_a_table_are_those_of_the_bootstrap():
    took = np.random.default_rng(3).exponential(size=40)
    found = duration([TimedKernel("Conv", "float", (), took)], "")
    low, high = bootstrap_interval(took, interquartile_mean, resamples=RESAMPLES)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_kernels_of_a_module_are_one_row_and_rows_are_sorted_by_time():
    rows = table(made_of(kernel("a", 1.0, "a/1"), kernel("b", 5.0), kernel("a", 2.0, "a/2", number="int8")))
    assert [(row["module"], row["nodes"], row["runs_in"]) for row in rows] == [
        ("b", "b", "float"),
        ("a", "a/1, a/2", "float, int8"),
    ]
    assert [row["time"]["value"] for row in rows] == pytest.approx([5.0, 3.0])
    assert [row["share"]["value"] for row in rows] == pytest.approx([5 / 8, 3 / 8])


def test_the_time_of_several_kernels_is_that_of_their_sum_run_by_run():
    """Kernels that swap their times from run to run take a constant time together."""
    swing = np.tile([1.0, 3.0], 20)
    node = (NodeOrigin("a", "Conv", "a"),)
    together = duration([TimedKernel("Conv", "float", node, series) for series in (swing, 4.0 - swing)], "how")
    assert (together.low, together.value, together.high) == pytest.approx((4.0, 4.0, 4.0))
    assert (together.runs, together.detail) == (40, "how")


def test_a_single_run_has_no_interval():
    once = duration([TimedKernel("Conv", "float", (), np.array([2.0]))], "")
    assert (once.value, once.low, once.high) == (2.0, None, None)


def test_intervals_hold_their_estimate():
    random = np.random.default_rng(0)
    for size in range(2, 12):
        time = duration([TimedKernel("Conv", "float", (), random.exponential(size=size))], "")
        assert time.low <= time.value <= time.high


@pytest.mark.parametrize(("threads", "words"), [("1", "1 thread,"), ("4", "4 threads,")])
def test_the_detail_names_runtime_and_threads(threads, words):
    times = LayerTimes((), np.ones(1), np.ones(1), {"runtime": "a runtime", "threads": threads})
    assert words in detail_of(times)
    assert "profiler of a runtime" in detail_of(times)


def test_rows_as_json_read_back_as_the_same_quantities():
    quantity = Quantity.measured(1.5, "ms", "how", interval=(1.0, 2.0), runs=9)
    (row,) = json.loads(json.dumps(rows_as_json([{"module": "a", "time": quantity}])))
    assert row["module"] == "a"
    assert Quantity.model_validate(row["time"]) == quantity
