"""Whether figures of two runs are of the same quantity."""

import pytest

from compress.core.fact import Fact
from compress.core.run_record import RunRecord
from compress.pipeline.review.comparability import other_machine, other_metrics, other_settings
from compress.pipeline.review.gate import gate
from compress.pipeline.review.judge_record import shipped_rows


def with_task(record: RunRecord, task: object, **fields: object) -> RunRecord:
    recipe = {**record.recipe, "task": task, "model": {"source": fields.pop("source", "onnx:m.onnx")}, "budget": None}
    return record.model_copy(update={"recipe": recipe, **fields})


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("inspection", {"inspection": {"fpr": 0.5}}, "fpr of the task inspection is 0.05 and 0.5"),
        ({"inspection": {"fpr": 0.05, "good": None}}, "inspection", ""),
        ({"inspection": {"good": "a"}}, {"inspection": {"good": "b"}}, "good of the task inspection is a and b"),
        ("regression", {"regression": {"period": 360.0}}, "period of the task regression is None and 360.0"),
        ({"regression": {"error": "huber"}}, "regression", ""),
        ("classification", "inspection", "of different tasks: classification and inspection"),
        ({"own": {"code": "1"}}, {"own": {"code": "2"}}, "code of the task own is 1 and 2"),
        ({"own": {"code": "1"}}, {"own": {"code": "1"}}, ""),
        (None, "classification", ""),
    ],
)
def test_a_metric_of_another_definition_does_not_compare(
    example: RunRecord, first: object, second: object, reason: str
) -> None:
    baseline, run = with_task(example, first), with_task(example, second)
    assert reason in other_metrics(baseline, run)
    assert bool(other_metrics(baseline, run)) is bool(reason)
    codes = [finding.code for finding in gate(run, None, baseline).breaches]
    assert ("baseline/accuracy" in codes) is bool(reason)


@pytest.mark.parametrize(
    ("hashes", "sources", "same"),
    [
        (("1", "1"), ("onnx:a", "onnx:b"), True),
        (("1", "2"), ("onnx:a", "onnx:a"), False),
        (("1", ""), ("onnx:a", "onnx:a"), True),
        (("", ""), ("onnx:a", "onnx:b"), False),
    ],
)
@pytest.mark.parametrize("task", ["outputs", "classification"])
def test_similarities_to_other_original_networks_do_not_compare(
    example: RunRecord, hashes: tuple[str, str], sources: tuple[str, str], same: bool, task: str
) -> None:
    baseline, run = (
        with_task(example, task, source=source, original_sha256=sha256) for source, sha256 in zip(sources, hashes, strict=True)
    )
    assert (other_metrics(baseline, run) == "") is (same or task == "classification")


@pytest.mark.parametrize("is_run", [False, True])
def test_metrics_on_noise_do_not_compare(example: RunRecord, is_run: bool) -> None:
    noise = example.model_copy(update={"warnings": (Fact.of("data.random_inputs", "m.onnx", sizes=""),)})
    reason = other_metrics(*((example, noise) if is_run else (noise, example)))
    assert "random noise" in reason
    assert reason.startswith("in the run" if is_run else "in the baseline")


def with_threads(record: RunRecord, threads: int | None) -> RunRecord:
    last = record.stages[-1]
    parameters = {**last.parameters, "threads": threads}
    return record.model_copy(update={"stages": (*record.stages[:-1], last.model_copy(update={"parameters": parameters}))})


def test_a_latency_with_other_threads_or_inputs_is_a_breach_and_an_estimate_is_not(example: RunRecord) -> None:
    result = gate(with_threads(example, 8), None, example)
    codes = [finding.code for finding in result.breaches]
    assert "baseline/latency_p50_ms/host" in codes
    assert not any("mobile_cpu" in code for code in codes)
    assert "threads: 1 and 8" in next(finding.text for finding in result.breaches)
    assert gate(with_threads(example, None), None, example).passed
    row = next(row for row in shipped_rows(example) if row.device == "host")
    other = row.model_copy(update={"inputs": "input 1×3×32×32"})
    assert "32×32" in other_settings(example, example, row, other)
    assert other_machine(example, example, row, other) == ""
    older = row.model_copy(update={"inputs": ""})
    assert other_settings(example, example, older, row) == ""
    assert "only one of the records has" in other_machine(example, example, older, row)
