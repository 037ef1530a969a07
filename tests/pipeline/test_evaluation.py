"""What is said of a stage once it is measured."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compress.backends.export_onnx import export_onnx
from compress.core.budget import Budget
from compress.core.errors import ModelError
from compress.core.network_spec import image_spec
from compress.core.record import StageRecord
from compress.core.sentences import render
from compress.core.stage import Candidate, Context, Outcome
from compress.data.interface import Data
from compress.pipeline.evaluation import Evaluation, check_outputs, evaluate_candidate, evaluate_outcome, no_gain_warning
from compress.pipeline.stage_output import ANSWERS, SCORES, PendingStage, StageOutput, save_scores
from compress.pipeline.verdict import reach_verdict
from compress.tasks.classification import ACCURACY, Classification
from compress.tasks.metric_quantity import gain_of
from tests.export.tiny import SPEC, split


class Standardized(nn.Module):
    """Subtracts the mean of each image and divides by its standard deviation."""

    def forward(self, x: Tensor) -> Tensor:
        x = (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True)
        return x.mean((2, 3))[:, :1] * torch.ones(4)


def test_a_black_image_refuses_no_network() -> None:
    samples = split(8, 0)
    samples.inputs[0] = 0.0
    check_outputs(Candidate(SPEC, Standardized()), "start", samples)
    samples.inputs[1:] *= torch.nan
    with pytest.raises(ModelError, match="for 7 of 7 samples; the samples have such values"):
        check_outputs(Candidate(SPEC, Standardized()), "start", samples)


def test_a_network_whose_outputs_are_not_finite_is_refused() -> None:
    broken = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    nn.init.constant_(broken[2].bias, torch.inf)
    with pytest.raises(ModelError, match=r"after train .* not finite numbers for 8 of 8 samples; lower its learning rate"):
        check_outputs(Candidate(SPEC, broken), "train", split(8, 0))


@pytest.mark.parametrize(("better", "said"), [(0, True), (4, True), (60, False)])
def test_a_teacher_that_brought_nothing_is_told(better: int, said: bool) -> None:
    alone, distilled = np.zeros(100, np.float32), np.zeros(100, np.float32)
    alone[10:30] = 1.0
    distilled[: 20 + better] = 1.0
    told = no_gain_warning(
        {"accuracy_over_control": gain_of(Classification().deciding, alone, distilled, "the student trained alone")}, ACCURACY
    )
    assert bool(told) == said
    if said:
        assert (told[0].code, told[0].subject) == ("pipeline.no_gain_over_control", "accuracy")
        assert told[0].values["samples"] == 100
        assert told[0].values["difference"] == pytest.approx(better)
        assert f"{better:+.2f} points on 100 test samples" in render(told[0])


def test_without_a_control_nothing_is_told() -> None:
    assert no_gain_warning({}, ACCURACY) == ()


def small_network(bias: float) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 8))
    nn.init.constant_(net[2].bias[1:2], bias)
    return net.eval()


def output_of(evaluation: Evaluation, name: str, folder: Path, previous: StageOutput | None = None) -> StageOutput:
    record = StageRecord(
        index=1, name=name, key=name, parent_key="", form="onnx", parameters={}, before={}, after=evaluation.metrics, seed=0,
        versions={}, started="x", wall_time_s=0.0, warnings=evaluation.warnings,
    )  # fmt: skip
    return StageOutput(record, folder, NotImplemented, previous)


@pytest.fixture
def eight_classes(make_context: Callable[..., Context]) -> Context:
    spec = image_spec(channels=3, height=16, width=16, mean=(0.0,) * 3, std=(1.0,) * 3, classes=tuple("abcdefgh"))
    return make_context(Data(spec, *(split(40, seed, spec) for seed in range(3))))


def evaluated(network: nn.Module, context: Context) -> Evaluation:
    candidate, file = Candidate(context.data.spec, network), context.folder / "model.onnx"
    context.folder.mkdir(exist_ok=True)
    export_onnx(network, candidate.spec, file)
    return evaluate_candidate(candidate, file, context, before={}, baseline=None, session="x")


def test_all_metrics_of_the_task_are_measured_on_both_splits(eight_classes: Context) -> None:
    network = small_network(0.0)
    evaluation = evaluated(network, eight_classes)
    for split_name, suffix in (("test", ""), ("validation", "_validation")):
        samples = getattr(eight_classes.data, split_name)
        logits, targets = network(samples.inputs), samples.targets
        top5 = (logits.topk(5).indices == targets[:, None]).any(1).double().mean()
        assert evaluation.metrics[f"accuracy{suffix}"].value == pytest.approx((logits.argmax(1) == targets).double().mean())
        assert evaluation.metrics[f"accuracy_top5{suffix}"].value == pytest.approx(top5)
        assert evaluation.metrics[f"calibration_error{suffix}"].low is None
    assert evaluation.metrics["accuracy_top5"].low is not None
    assert evaluation.scores.shape == (40,)


def test_operations_of_a_file_at_the_start_are_counted_in_the_file(eight_classes: Context) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 8)).eval()
    counted = evaluated(network, eight_classes).metrics["macs"]
    file = eight_classes.folder / "model.onnx"
    given = Candidate(eight_classes.data.spec, files={"onnxruntime": file})
    found = evaluate_candidate(given, file, eight_classes, before={}, baseline=None, session="x").metrics["macs"]
    assert (found.how, found.value) == ("measured", counted.value)
    kept = evaluate_candidate(given, file, eight_classes, before={"macs": counted}, baseline=None, session="x")
    assert kept.metrics["macs"] == counted


@pytest.mark.parametrize(("bias", "code"), [(1000.0, "pipeline.one_class_for_all"), (0.0, "pipeline.at_chance")])
def test_a_network_that_learned_nothing_is_named_and_fails_a_budget_on_size(
    eight_classes: Context, bias: float, code: str
) -> None:
    evaluation = evaluated(small_network(bias), eight_classes)
    assert [warning.code for warning in evaluation.warnings] == [code]
    folder, spec = eight_classes.folder, eight_classes.data.spec
    manifest = {"form": "onnx", "same": False, "files": {"onnxruntime": "model.onnx"}, "spec": spec.model_dump(mode="json")}
    (folder / "candidate.json").write_text(json.dumps(manifest))
    first = output_of(evaluation, "quantize", folder)
    np.save(folder / SCORES, evaluation.scores)
    verdict = reach_verdict(Budget(size_mb=100), [first], reference=None, task=Classification())
    assert not verdict.passed

    again = PendingStage(2, "export", "k", {}, NotImplemented, NotImplemented, NotImplemented, first)
    (folder / "again").mkdir()
    same = folder / "again" / "same.onnx"
    same.write_bytes((folder / "model.onnx").read_bytes())
    outcome = Outcome(Candidate(spec, files={"onnxruntime": same}))
    context = dataclasses.replace(eight_classes, folder=folder / "again")
    carried = evaluate_outcome(again, outcome, context, reference=None, unchanged=False)
    assert carried.warnings == evaluation.warnings
    assert evaluate_outcome(again, outcome, context, reference=None, unchanged=True).warnings == ()


@pytest.mark.parametrize("bias", [1000.0, 0.0])
def test_a_stage_that_trains_layers_alone_is_not_useless_and_meets_no_budget(eight_classes: Context, bias: float) -> None:
    pending = PendingStage(1, "distill", "k", {}, NotImplemented, NotImplemented, NotImplemented)
    eight_classes.folder.mkdir(exist_ok=True)
    candidate = Candidate(eight_classes.data.spec, small_network(bias))
    outcome = Outcome(candidate, trains_answers=False)
    evaluation = evaluate_outcome(pending, outcome, eight_classes, reference=None, unchanged=False)
    (warning,) = evaluation.warnings
    assert warning.code == "pipeline.answers_not_trained"
    assert warning.values["value"] == evaluation.metrics["accuracy"].value
    manifest = {"form": "torch", "same": False, "files": {}, "spec": eight_classes.data.spec.model_dump(mode="json")}
    (eight_classes.folder / "candidate.json").write_text(json.dumps(manifest))
    output = output_of(evaluation, "distill", eight_classes.folder)
    assert not reach_verdict(Budget(size_mb=100), [output], reference=None, task=Classification()).passed


def test_the_classes_of_a_network_are_compared_with_those_of_the_reference(eight_classes: Context) -> None:
    first, second = small_network(0.0), small_network(2.0)
    evaluation = evaluated(first, eight_classes)
    folder, spec, samples = eight_classes.folder, eight_classes.data.spec, eight_classes.data.test
    manifest = {"form": "torch", "same": False, "files": {}, "spec": spec.model_dump(mode="json")}
    (folder / "candidate.json").write_text(json.dumps(manifest))
    save_scores(evaluation.scores, folder, evaluation.answers)
    reference = output_of(evaluation, "teacher", folder)

    pending = PendingStage(1, "train", "k", {}, NotImplemented, NotImplemented, NotImplemented)
    (folder / "next").mkdir()
    data = dataclasses.replace(eight_classes.data, groups=["left", "right"] * 20)
    context = dataclasses.replace(eight_classes, folder=folder / "next", data=data)
    outcome = Outcome(Candidate(spec, second))
    compared = evaluate_outcome(pending, outcome, context, reference=reference, unchanged=False)
    comparison = compared.class_comparison
    values = {row["group"]: (row["after"]["value"], row["change"]["value"]) for row in compared.tables["groups"]}
    correct = [(network(samples.inputs).argmax(1) == samples.targets).float() for network in (first, second)]
    for name, rows in (("left", slice(0, None, 2)), ("right", slice(1, None, 2))):
        gain = float((correct[1] - correct[0])[rows].mean())
        assert values[name] == pytest.approx((float(correct[1][rows].mean()), gain))
    predicted = [network(samples.inputs).argmax(1) for network in (first, second)]
    assert comparison is not None
    assert comparison.reference == "teacher"
    assert comparison.samples == 40
    assert comparison.disagreement_count == int((predicted[0] != predicted[1]).sum()) > 0
    assert any(each.image for each in comparison.disagreements)
    stored = np.load(folder / "next" / ANSWERS)
    np.testing.assert_array_equal(stored[:, 0], predicted[1].numpy())
    np.testing.assert_array_equal(stored[:, 1], samples.targets.numpy())
    probabilities = second(samples.inputs).softmax(1).amax(1).detach().numpy()
    np.testing.assert_allclose(stored[:, 2], probabilities, atol=1e-5)
    assert evaluate_outcome(pending, outcome, context, reference=None, unchanged=False).class_comparison is None
