import pytest

from compress.profile.phone.benchmark_tools import (
    TOOLS,
    TurnSettings,
    UnreadableOutputError,
    litert_command,
    onnxruntime_command,
    parse_litert,
    parse_onnxruntime,
)
from tests.profile.phone.conftest import LITERT, ONNXRUNTIME

SETTINGS = TurnSettings(2, 1.5, 0.25, 5, 600.0, sizes={"batch": 4, "tokens": 64})
OLD = """Total time cost:58.8053
Total iterations:1000
Average time cost:58.8053 ms
Total run time:58.8102 s
Min Latency is 0.0559777sec
P50 Latency is 0.0587108sec
P999 Latency is 0.0623472sec
"""


def test_benchmark_model_of_litert():
    turn = parse_litert(LITERT)
    assert (turn.mean_ms, turn.runs, turn.typical_ms) == (pytest.approx(14.5528), 25, pytest.approx(14.125))
    assert turn.percentiles == pytest.approx({5.0: 14.054, 50.0: 14.125, 95.0: 18.753})
    assert (turn.load_ms, turn.first_ms) == (pytest.approx(92.318), pytest.approx(235.158))
    assert turn.memory == ("memory_model_bytes", pytest.approx(73.4102 * 2**20))


def test_an_older_benchmark_model_prints_no_percentiles():
    text = "count=50 first=266601 curr=266931 min=265837 max=268116 avg=266473 std=419\nInference timings in us: Init: 20283, First inference: 339304, Warmup (avg): 302814, Inference (avg): 266473\n"  # fmt: skip  # noqa: E501
    turn = parse_litert(text)
    assert (turn.percentiles, turn.typical_ms, turn.memory) == ({}, pytest.approx(266.473), None)


def test_large_and_equal_times_of_benchmark_model():
    summary = "Inference timings in us: Init: 1.5e+06, First inference: 2, Warmup (avg): 3, Inference (avg): 4\n"
    assert parse_litert(f"count=2 first=1 curr=2 min=1 max=2 avg=1.23457e+06 std=3\n{summary}").mean_ms == pytest.approx(
        1234.57
    )
    turn = parse_litert(f"count=9 curr=80(all same)\n{summary}")
    assert (turn.mean_ms, turn.runs, turn.percentiles, turn.load_ms) == (0.08, 9, {50.0: 0.08}, 1500.0)


def test_onnxruntime_perf_test():
    turn = parse_onnxruntime(ONNXRUNTIME)
    assert (turn.mean_ms, turn.runs, turn.load_ms, turn.first_ms) == (9.896199, 200, pytest.approx(217.932), 196.0)
    assert turn.percentiles == pytest.approx({50.0: 9.75086, 90.0: 10.1519, 95.0: 11.1519, 99.0: 12.1519, 99.9: 13.1519})
    assert turn.memory == ("memory_bytes", 271122432.0)


def test_an_older_onnxruntime_perf_test():
    turn = parse_onnxruntime(OLD)
    assert (turn.mean_ms, turn.runs, turn.load_ms, turn.first_ms, turn.memory) == (58.8053, 1000, None, None, None)
    assert turn.percentiles == pytest.approx({50.0: 58.7108, 99.9: 62.3472})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Segmentation fault",
        LITERT.replace("Inference timings", "x"),
        LITERT.replace("avg=", "a="),
        LITERT.replace("avg=14552.8", "avg=0"),
        ONNXRUNTIME,
    ],
)
def test_other_texts_are_not_read_as_times_of_benchmark_model(text):
    with pytest.raises(UnreadableOutputError):
        parse_litert(text)


@pytest.mark.parametrize(
    "text",
    ["", LITERT, ONNXRUNTIME.replace("Average", "x"), ONNXRUNTIME.replace("requests", "x"), OLD.replace("58.8053 ms", "0 ms")],
)
def test_other_texts_are_not_read_as_times_of_onnxruntime_perf_test(text):
    with pytest.raises(UnreadableOutputError):
        parse_onnxruntime(text)


def test_command_lines():
    assert litert_command("/t/benchmark_model", "/m.tflite", SETTINGS) == [
        "/t/benchmark_model", "--graph=/m.tflite", "--num_threads=2", "--num_runs=5", "--min_secs=1.5", "--max_secs=600",
        "--warmup_runs=1", "--warmup_min_secs=0.25",
    ]  # fmt: skip
    periodic = TurnSettings(0, 1.0, 0.0, 1, 60.0, rate_hz=30.0)
    assert litert_command("/b", "/m", periodic)[-1] == "--run_frequency=30"
    assert "--num_threads=-1" in litert_command("/b", "/m", periodic)
    assert onnxruntime_command("/t/perf_test", "/m.onnx", SETTINGS) == [
        "env", "LD_LIBRARY_PATH=/t", "/t/perf_test", "-e", "cpu", "-t", "2", "-x", "2", "-s", "-I", "-f", "batch:4", "-f",
        "tokens:64", "/m.onnx",
    ]  # fmt: skip
    assert {name: tool.keeps_rate for name, tool in TOOLS.items()} == {"litert": True, "onnxruntime": False}
