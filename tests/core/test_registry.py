"""A method is one file and one row: from then on recipes, JSON schema, `compress methods` and runs know it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from compress import Quantize
from compress.backends.open_runner import open_runner
from compress.cli import app
from compress.config.devices import Device, load_device
from compress.config.recipe import loads, schema
from compress.config.yaml_lines import parse
from compress.core.errors import RecipeError
from compress.core.fact import Fact
from compress.core.registry import ENTRIES, Entry, lookup, names, temporary
from compress.core.registry_entry import FAMILIES
from compress.core.run_record import RunRecord
from compress.data import factory
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources import digits
from compress.pipeline.report.outline import Pictures, Section, build_outline
from compress.prune.criteria.base import Importance
from compress.prune.criteria.norms import l1
from compress.prune.schedule_settings import Schedule
from compress.quantize.calibration.range_estimators import ActivationHistogram
from compress.quantize.ptq.pipeline import PassInputs, PassResult
from compress.train.loss_term import LossInputs, LossTerm
from tests.config.small_recipe import SMALL


class ConstantLoss(LossTerm):
    """The same loss for each sample.

    Attributes:
        height: The loss.
    """

    height: float = 1.0

    def per_sample(self, inputs: LossInputs) -> Tensor:
        return torch.full((len(inputs.student_logits),), self.height)


def negative_l1(seed: int = 0) -> Importance:
    largest_first = l1(seed)
    return replace(largest_first, weights=lambda name, w: 1 / (1 + largest_first.weights(name, w)))


def quadratic(t: int, n: int, *, s_f: float, s_i: float = 0.0) -> float:
    return s_f + (s_i - s_f) * (1 - t / n) ** 2


def half_range(histogram: ActivationHistogram, *, levels: int, percentile: float) -> tuple[float, float]:
    return histogram.low / 2, histogram.high / 2


def inverted_digits(settings: DataSettings, origin: DataSource) -> Data:
    return digits.load(settings, origin)


def scale_by(model: ir.Model, inputs: PassInputs) -> PassResult:
    return PassResult(model, notes=(Fact.of("test.scaled", factor=inputs.setting),))


class FakeRunner:
    """Opens nothing."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        self.path, self.threads = path, threads


def footer(record: RunRecord, pictures: Pictures) -> Iterator[Section]:
    yield Section(f"Footer of {record.name}")


NEW = {
    "loss": Entry("loss", "constant", f"{__name__}:ConstantLoss", "this test"),
    "importance": Entry("importance", "smallest", f"{__name__}:negative_l1", "this test", {"scores": ("weights",)}),
    "range": Entry("range", "half", f"{__name__}:half_range", "this test", {"observes": "extremes"}),
    "schedule": Entry("schedule", "quadratic", f"{__name__}:quadratic", "this test"),
    "ptq_pass": Entry("ptq_pass", "scaled", f"{__name__}:scale_by", "this test"),
    "data": Entry("data", "inverted_digits", f"{__name__}:inverted_digits", "this test"),
}
BLOCKS = {
    "loss": "{distill: {epochs: 1, losses: [{constant: {height: 2.5}}, task]}}",
    "importance": "{prune: {granularity: weight, importance: smallest, target: {sparsity: 0.5}}}",
    "range": "{quantize: {calibration: {method: half}}}",
    "schedule": "{prune: {target: {macs: 0.5}, schedule: {kind: quadratic}}}",
    "ptq_pass": "{quantize: {ptq: {scaled: 0.5}}}",
}
TEACHER = 'teacher: {source: "torchvision:resnet18"}\n'


def recipe_with(family: str) -> str:
    if family == "data":
        return SMALL.replace("digits", "inverted_digits")
    return SMALL.replace("task:", f"{TEACHER}task:").replace("  - export\n", f"  - {BLOCKS[family]}\n")


def messages(text: str, **options: object) -> str:
    with pytest.raises(RecipeError) as caught:
        loads(text, **options)
    return " ".join(fault.message for fault in caught.value.issues)


@pytest.mark.parametrize("family", NEW)
def test_a_recipe_may_name_it_while_its_row_is_there(family: str) -> None:
    entry = NEW[family]
    with pytest.raises(RecipeError, match=entry.name):
        loads(recipe_with(family))
    with temporary(entry):
        assert entry.name in loads(recipe_with(family)).model_dump_json()
    assert entry.name not in names(family)


@pytest.mark.parametrize("family", NEW)
def test_the_json_schema_accepts_it_while_its_row_is_there(family: str) -> None:
    tree = parse(recipe_with(family), "test").tree
    with temporary(NEW[family]):
        jsonschema.validate(tree, schema())
    if family != "data":
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(tree, schema())


@pytest.mark.parametrize("family", NEW)
def test_compress_methods_lists_it(family: str) -> None:
    with temporary(NEW[family]):
        listed = CliRunner().invoke(app, ["methods", family])
    assert listed.exit_code == 0
    assert f"{NEW[family].name} " in listed.output


def test_a_new_loss_is_computed_with_its_parameters() -> None:
    with temporary(NEW["loss"]):
        (stage,) = [stage for stage in loads(recipe_with("loss")).stages if hasattr(stage, "losses")]
    constant = stage.losses[0]
    assert isinstance(constant, ConstantLoss)
    assert constant.height == 2.5


def test_a_new_importance_scores_weights() -> None:
    weight = nn.Parameter(torch.tensor([[1.0, -4.0], [2.0, 0.5]]))
    with temporary(NEW["importance"]):
        scores = lookup("importance", "smallest").load()(0).weights("layer.weight", weight)
    assert scores.argmin() == weight.abs().argmax()


def test_a_new_schedule_is_a_curve_of_its_own() -> None:
    with temporary(NEW["schedule"]):
        schedule = Schedule(kind="quadratic", steps=4)
        curve = lookup("schedule", schedule.curve).load()
        assert [curve(t, 4, s_f=0.8) for t in range(5)] == pytest.approx([0.8 * (1 - (1 - t / 4) ** 2) for t in range(5)])


def test_a_new_range_estimator_reads_what_was_observed() -> None:
    histogram = ActivationHistogram()
    histogram.update_minmax(np.array([-1.0, 4.0], np.float32))
    with temporary(NEW["range"]):
        assert lookup("range", "half").load()(histogram, levels=128, percentile=99.9) == (-0.5, 2.0)


def test_a_new_pass_keeps_its_setting_in_the_stage() -> None:
    with temporary(NEW["ptq_pass"]):
        (stage,) = [stage for stage in loads(recipe_with("ptq_pass")).stages if hasattr(stage, "ptq")]
        assert Quantize.model_validate_json(stage.model_dump_json()).ptq.scaled == 0.5


def test_a_new_data_source_is_loaded(tmp_path: Path) -> None:
    with temporary(NEW["data"]):
        data = factory.load_data(DataSettings(source="inverted_digits"), base=tmp_path)
    assert len(data.train) > len(data.test) > 0


def test_a_new_runner_may_stand_in_a_device_profile_and_is_opened(tmp_path: Path) -> None:
    profile = load_device("host").model_dump(mode="json") | {"runtime": "fake", "runtimes": ["fake", "onnxruntime"]}
    with pytest.raises(ValueError, match="fake"):
        Device.model_validate(profile)
    row = Entry("runner", "fake", f"{__name__}:FakeRunner", "this test", {"format": "onnx", "own_profile": True})
    with temporary(row):
        assert Device.model_validate(profile).runtime == "fake"
        runner = open_runner("fake", tmp_path / "model.onnx", threads=3)
    assert isinstance(runner, FakeRunner)
    assert runner.threads == 3


def test_a_new_report_section_ends_the_report(record: RunRecord) -> None:
    with temporary(Entry("report_section", "footer", f"{__name__}:footer", "this test")):
        assert build_outline(record, ()).sections[-1].title == f"Footer of {record.name}"


def test_every_row_is_in_a_family_and_stands_once() -> None:
    assert {entry.family for entry in ENTRIES} <= FAMILIES.keys()
    assert len({(entry.family, entry.name) for entry in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.family}.{entry.name}")
def test_every_row_points_at_something_that_can_be_called(entry: Entry) -> None:
    assert callable(entry.load())
    assert entry.source


def test_a_temporary_row_goes_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), temporary(NEW["loss"]):
        raise ZeroDivisionError
    assert "constant" not in names("loss")


def test_rows_are_listed_without_torch() -> None:
    code = "import sys; from compress.core.registry import names; names('loss'); print('torch' in sys.modules)"
    assert json.loads(subprocess.check_output([sys.executable, "-c", code], text=True).strip().lower()) is False
