"""Results on the terminal."""

from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest

from compress.cli.render import LAYERS_SHOWN, device_rows, show, show_check, show_file_details, show_sweep
from compress.cli.terminal import SafeConsole
from compress.core.fact import SKIPPED, Fact
from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.core.verdict import Check, Verdict
from compress.pipeline.check_run import RunCheck


def printed(draw, *arguments) -> str:
    text = StringIO()
    draw(SafeConsole(file=text, width=160), *arguments)
    return text.getvalue()


def test_a_profile_that_cannot_be_read_is_listed_as_such_beside_the_others(tmp_path, monkeypatch):
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "broken.yaml").write_text("- no\n- mapping\n")
    monkeypatch.chdir(tmp_path)
    rows = {row[0]: row for row in device_rows()}
    assert rows["jetson_orin_nano"][2:4] == ["gpu", "tensorrt"]
    assert "cannot be used" in rows["broken"][1]
    assert {len(row) for row in rows.values()} == {5}


def test_a_sweep_lists_its_points_and_what_it_left_out():
    measured = Quantity.measured(2.0, "ms", "one thread").model_dump()
    point = {"file": "m.onnx", "device": "host", "batch": 8, "threads": 2, "runs": 30, "latency_p50_ms": measured,
             "throughput_per_s": Quantity.measured(4000.0, "1/s").model_dump()}  # fmt: skip
    text = printed(show_sweep, [point], [Fact.of(SKIPPED, "jetson", reason="it is not at hand")])
    assert [word for word in text.split() if word in ("m.onnx", "8", "30")] == ["m.onnx", "8", "30"]
    assert "jetson skipped: it is not at hand" in text
    assert "sweep" not in printed(show_sweep, [], [])


def test_of_many_layers_the_slowest_are_shown_and_counted():
    number = Quantity.measured(0.1, "ms").model_dump()
    share = Quantity.measured(0.01, "fraction").model_dump()
    rows = [
        {"module": f"conv{index}", "nodes": "n", "operators": "Conv", "runs_in": "float", "share": share, "time": number}
        for index in range(LAYERS_SHOWN + 3)
    ]
    text = printed(show_file_details, SimpleNamespace(layers={"m.onnx": rows}, soaks={}, notes=()))
    assert f"the {LAYERS_SHOWN} slowest of {LAYERS_SHOWN + 3}" in text
    assert f"conv{LAYERS_SHOWN - 1} " in text
    assert f"conv{LAYERS_SHOWN} " not in text


@pytest.mark.parametrize(
    ("changed", "answer"), [((), ": 2 files as written: whole"), (("record.json",), "not intact; run its")]
)
def test_a_check_names_every_file_that_is_not_as_written(changed, answer):
    text = printed(show_check, Path("run"), RunCheck(("a", "b"), (), changed, (), ("stray",)))
    assert answer in text
    assert "not listed  stray" in text
    assert all(f"changed     {name}" in text for name in changed)


def run(smoke: bool, passed: bool):
    size = Quantity.measured(2e6, "bytes")
    check = Check(limit="size", allowed="≤ 1 MB", quantity=size, passed=passed, explanation="measured", name="size_bytes")
    note = Fact.of("pipeline.no_metric_limit", "accuracy", names=("accuracy_drop", "accuracy"))
    verdict = Verdict(passed=passed, checks=(check,), notes=(note,))
    record = RunRecord.model_construct(
        name="mine", recipe={"budget": {"size_mb": 1.0}}, smoke=smoke, stages=(), teacher=None, start={}, metric=None,
        verdict=None if smoke else verdict,
    )  # fmt: skip
    return SimpleNamespace(record=record, verdict=record.verdict, report=(), folder=Path("nowhere"))


@pytest.mark.parametrize(
    ("smoke", "passed", "words"),
    [(False, True, "budget met"), (False, False, "budget missed"), (True, False, "budget not judged")],
)
def test_the_verdict_is_in_words(smoke, passed, words):
    text = printed(show, run(smoke, passed))
    assert next(line for line in text.splitlines() if line.startswith("budget")).startswith(words)
    assert ("2.00 MB ●" in text) is not smoke
    assert ("sets no limit on the accuracy" in text) is not smoke
