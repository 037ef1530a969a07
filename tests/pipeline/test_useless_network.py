"""Networks that have learned nothing, of tasks whose outputs are not one class per sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from compress import Data
from compress.core.fact import Fact
from compress.core.record import Quantity, StageRecord
from compress.core.sentences import render
from compress.core.stage import Candidate, Context
from compress.core.verdict import Check
from compress.core.warned_check import warning_of
from compress.pipeline.split_metrics import measure_splits
from compress.pipeline.stage_output import StageOutput
from compress.pipeline.useless_network import useless_warning, warnings_of_same_bytes
from compress.pipeline.verdict import is_chance
from compress.tasks.segmentation import Segmentation
from tests.tasks.keypoints import Keypoints, draw

SIDE = 12


def scenes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images whose first pixel is noise, and masks of squares that are near the centre, which the other pixels show."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(count, SIDE, SIDE, dtype=torch.int64)
    for mask, (x, y, side) in zip(masks, torch.randint(0, 3, (count, 3), generator=generator).tolist(), strict=True):
        mask[2 + x : 7 + x + side, 2 + y : 7 + y + side] = 1
    images = masks[:, None].float() + 0.1 * torch.randn(count, 1, SIDE, SIDE, generator=generator)
    images[:, 0, 0, 0] = torch.rand(count, generator=generator)
    return images, masks


class Segmenter(nn.Module):
    """Squares about the centre whose place follows the noise of the first pixel, or the mask that the image shows."""

    def __init__(self, looks: bool) -> None:
        super().__init__()
        self.looks = looks

    def forward(self, images: Tensor) -> Tensor:
        shown = images[:, 0] > 0.5
        if not self.looks:
            middle = torch.zeros(len(images), SIDE, SIDE)
            middle[:, 3:9, 3:9] = 1.0
            shown = torch.where(images[:, :1, 0, 0, None] > 0.5, middle.roll(1, 2), middle.roll(-1, 2)) > 0
        return torch.stack([~shown, shown], dim=1).float()


def segmentation(make_context: Callable[..., Context], tested: int = 60) -> Context:
    sizes = (60, 60, tested)
    loaders = [
        torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*scenes(size, seed)), batch_size=16)
        for seed, size in enumerate(sizes)
    ]
    return make_context(Data.from_loaders(*loaders, classes=("floor", "part"), task=Segmentation()), task=Segmentation())


def test_a_segmenter_better_than_a_constant_that_does_not_look_is_useless(make_context: Callable[..., Context]) -> None:
    context = segmentation(make_context)
    spec, task = context.data.spec, context.task
    blind, seeing = (measure_splits(Candidate(spec, Segmenter(looks)), context) for looks in (False, True))
    chance = task.chance_level(spec.classes, {task.metric: blind.test.scores})
    assert chance is not None
    assert not is_chance(blind.metrics[task.metric], chance, task.metric_info)
    (warning,) = useless_warning(blind, spec.classes, task)
    assert warning.code == "pipeline.input_not_used"
    assert warning.values["value"] == pytest.approx(blind.metrics[task.metric].value)
    assert warning.values["value"] == pytest.approx(warning.values["chance"], abs=0.05)
    assert warning.values["samples"] == 60
    assert "nothing shows that it uses its input" in render(warning)
    assert useless_warning(seeing, spec.classes, task) == ()
    gain = seeing.results["mean_iou_over_permuted"]
    level = seeing.results["permuted_mean_iou"].value
    assert gain.value == pytest.approx(seeing.metrics[task.metric].value - level)
    assert gain.low > 0.1


@pytest.mark.parametrize(
    ("tested", "codes"), [(1, ["pipeline.input_use_unknown"]), (9, ["pipeline.input_use_unknown"]), (10, [])]
)
def test_too_few_samples_leave_open_whether_the_input_is_used(
    make_context: Callable[..., Context], tested: int, codes: list[str]
) -> None:
    context = segmentation(make_context, tested)
    measured = measure_splits(Candidate(context.data.spec, Segmenter(looks=True)), context)
    warnings = useless_warning(measured, context.data.spec.classes, context.task)
    assert [warning.code for warning in warnings] == codes
    assert all(f"the test split has {tested} samples" in render(warning) for warning in warnings)
    assert (measured.metrics["mean_iou"].low is None) is (tested < 10)


class Points(nn.Module):
    """The centre of mass of all bright pixels for every class, or a place that follows the darkest corner of noise."""

    def __init__(self, looks: bool) -> None:
        super().__init__()
        self.looks = looks

    def forward(self, images: Tensor) -> Tensor:
        if not self.looks:
            jitter = (images.flatten(1).sum(1) * 1000).sin()[:, None, None]
            return 0.5 + 0.05 * jitter.expand(-1, 2, 2)
        grid = (torch.arange(16) + 0.5) / 16
        maps = images[:, 0].unsqueeze(1) == torch.tensor([1.0, 0.5]).view(1, 2, 1, 1)
        weight = maps.float() / maps.sum((2, 3), keepdim=True).clamp(min=1)
        return torch.stack([(weight.sum(2) * grid).sum(2), (weight.sum(3) * grid).sum(2)], dim=2)


@pytest.mark.parametrize("looks", [False, True])
def test_a_task_of_the_users_own_has_a_chance_level(make_context: Callable[..., Context], looks: bool) -> None:
    loaders = [torch.utils.data.DataLoader(draw(60, seed), batch_size=16) for seed in range(3)]
    task = Keypoints()
    context = make_context(Data.from_loaders(*loaders, classes=("square", "cross"), task=task), task=task)
    measured = measure_splits(Candidate(context.data.spec, Points(looks)), context)
    warnings = useless_warning(measured, context.data.spec.classes, task)
    assert [warning.code for warning in warnings] == ["pipeline.input_not_used"] * (not looks)
    assert measured.results["distance_over_permuted"].value == pytest.approx(
        measured.results["permuted_distance"].value - measured.metrics["distance"].value
    )


def test_a_metric_with_a_chance_level_of_the_task_keeps_it(make_context: Callable[..., Context]) -> None:
    context = segmentation(make_context)
    measured = measure_splits(Candidate(context.data.spec, Segmenter(looks=True)), context)
    worse = dataclasses.replace(measured.test, constant=True)
    value = Quantity.measured(0.1, "fraction", interval=(0.05, 0.15))
    at_chance = measured._replace(metrics={**measured.metrics, "mean_iou": value})
    constant = measured._replace(test=worse)
    codes = [useless_warning(each, context.data.spec.classes, context.task)[0].code for each in (at_chance, constant)]
    assert codes == ["pipeline.at_chance", "pipeline.constant_outputs"]


def test_warnings_on_the_outputs_of_a_file_go_with_the_file(tmp_path) -> None:
    error = Quantity.measured(0.02, "1", interval=(0.01, 0.03))
    check = Check(quantity=error, passed=False, name="rmse_width", label="RMSE of width")
    kept = (
        Fact.of("pipeline.outputs_not_finite", "test", count=1, samples=9),
        Fact.of("pipeline.input_not_used", "mean IoU", value=0.3, chance=0.3, low=-0.1, high=0.1, samples=9),
        Fact.of("tasks.class_not_recognised", "scratch", metric="mean IoU", samples=12),
        warning_of("tasks.value_at_constant", "width", check, constant=0.02),
    )
    own = Fact.of("pipeline.no_gain_over_control", "accuracy", difference=0.0, low=-1.0, high=1.0, samples=9)
    record = StageRecord(
        index=1, name="x", key="x", parent_key="", form="onnx", parameters={}, before={}, after={}, seed=0, versions={},
        started="x", wall_time_s=0.0, warnings=(*kept, own),
    )  # fmt: skip
    (tmp_path / "candidate.json").write_text("{}")
    assert warnings_of_same_bytes(StageOutput(record, tmp_path, NotImplemented)) == kept
