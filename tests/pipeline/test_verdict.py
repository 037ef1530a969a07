"""The verdict on a run: which network and which reference it is about."""

import json
from pathlib import Path

import pytest

from compress.core.budget import Budget
from compress.core.fact import Fact
from compress.core.network_spec import image_spec
from compress.core.record import BenchmarkRow, Metric, Quantity, StageRecord
from compress.pipeline.stage_output import StageOutput
from compress.pipeline.verdict import reach_verdict

SPEC = image_spec(channels=1, height=8, width=8, mean=(0.0,), std=(1.0,), classes=tuple("abcdefghij"))
METRIC = Metric(name="accuracy", label="accuracy", unit="fraction", higher_is_better=True)
ROW = BenchmarkRow(
    subject="artifact", device="host", runtime="onnxruntime", quantities={"latency_p50_ms": Quantity.measured(0.1, "ms")}
)


def chain(folder: Path, *names: str, accuracy: float = 0.9, warned: str = "") -> list[StageOutput]:
    """Outputs of stages, of which all but `profile` and `export` changed the network."""
    outputs: list[StageOutput] = []
    for index, name in enumerate(names):
        (folder / name).mkdir()
        manifest = {"form": "torch", "same": name in ("profile", "export"), "files": {}, "spec": SPEC.model_dump(mode="json")}
        (folder / name / "candidate.json").write_text(json.dumps(manifest))
        after = {
            "accuracy": Quantity.measured(accuracy, "fraction", interval=(accuracy - 0.05, accuracy + 0.05)),
            "accuracy_drop": Quantity.measured(0.0, "fraction"),
        }
        record = StageRecord(
            index=index, name=name, key=name, parent_key="", form="torch", parameters={}, before={}, after=after, seed=0,
            versions={}, started="x", wall_time_s=0.0, benchmark_rows=(ROW,) if name == "profile" else (),
            warnings=(Fact.of("pipeline.one_class_for_all", "b", samples=100),) if name == warned else (),
        )  # fmt: skip
        outputs.append(StageOutput(record, folder / name, NotImplemented, outputs[-1] if outputs else None))
    return outputs


@pytest.mark.parametrize(
    ("names", "passed"),
    [
        (("start", "train", "quantize", "profile"), True),
        (("start", "train", "quantize", "profile", "export"), True),
        (("start", "train", "profile", "quantize"), False),
        (("start", "train", "quantize"), False),
    ],
)
def test_a_limit_on_a_device_is_checked_on_the_network_that_ships(tmp_path, names, passed):
    verdict = reach_verdict(Budget(latency_ms={"host": 1.0}), chain(tmp_path, *names), reference=None, metric=METRIC)
    assert verdict.passed == passed
    assert passed or "not profiled" in verdict.checks[0].quantity.detail


@pytest.mark.parametrize(("accuracy", "passed"), [(0.9, True), (0.12, False), (0.05, False)])
def test_a_drop_against_a_network_no_better_than_chance_does_not_pass(tmp_path, accuracy, passed):
    outputs = chain(tmp_path, "start", "train", "quantize", accuracy=accuracy)
    (check,) = reach_verdict(Budget(accuracy_drop=0.01), outputs, reference=outputs[1], metric=METRIC).checks
    assert check.passed == passed
    assert passed or "better than chance" in check.quantity.detail


@pytest.mark.parametrize("budget", [Budget(accuracy_drop=0.01), Budget(accuracy=0.8)])
@pytest.mark.parametrize(("warned", "passed"), [("quantize", False), ("train", True), ("", True)])
def test_a_network_that_gives_one_class_to_all_samples_does_not_pass(tmp_path, budget, warned, passed):
    outputs = chain(tmp_path, "start", "train", "quantize", "export", warned=warned)
    (check,) = reach_verdict(budget, outputs, reference=outputs[1], metric=METRIC).checks
    assert check.passed == passed
    assert passed or "the class 'b' to all test samples" in check.quantity.detail
