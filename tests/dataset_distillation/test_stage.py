import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from compress import DatasetDistillation, Distill, Pipeline, Train
from compress.core.errors import CompressError, DataError
from compress.core.fact import Fact
from compress.data.sources.distilled_set import read
from compress.pipeline.stage_output import StageOutput
from tests.dataset_distillation.runs import QUICK, Forbidden, candidate, stage
from tests.train.toy_training import ToySplit, conv_net, toy_data


@pytest.mark.parametrize("name", ["random", "herding"])
def test_a_selection_is_of_different_real_images_of_the_right_class(context, name):
    stage(name).run(candidate(), context)
    result, real = read(context.folder), toy_data().train
    rows = [int((real.inputs == image).flatten(1).all(1).nonzero()) for image in result.images]
    assert len(set(rows)) == 12
    assert torch.equal(real.targets[rows], result.targets)


def test_inversion_needs_no_image_and_leaves_the_teacher_as_it_was(context):
    teacher = context.teachers[0].network()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    blind = replace(context, data=replace(context.data, train=ToySplit(0, 0), validation=Forbidden()))
    outcome = stage("inversion", method={"inversion": {"iterations": 150}}).run(candidate(), blind)
    y = outcome.curves["matching_loss"].y
    assert y[-1] < 0.6 * y[0]
    assert outcome.results["teacher_agreement"].value == 1.0
    assert "real_images" not in outcome.results
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
    assert all(parameter.requires_grad for parameter in teacher.parameters())


def test_inversion_in_several_batches_gives_every_class_its_images(context):
    outcome = stage("inversion", method={"inversion": {"iterations": 2, "batch": 5}}, images_per_class=5).run(
        candidate(), context
    )
    result = read(context.folder)
    assert torch.bincount(result.targets).tolist() == [5, 5, 5]
    assert Fact.of("dataset_distillation.curve_of_first_batch", batches=3) in outcome.notes


def test_a_missing_teacher_or_one_with_other_classes_is_refused(context):
    with pytest.raises(CompressError, match=r"add `teacher: .*or write teacher: parent"):
        stage("inversion").run(candidate(), replace(context, teachers=()))
    spec = context.data.spec.model_copy(update={"classes": ("red", "blue", "green")})
    other = replace(context, teachers=(replace(context.teachers[0], spec=spec),))
    with pytest.raises(CompressError, match="are not the data's"):
        stage("random").run(candidate(), other)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "inversion", "teacher": "none"}, "inversion reads a trained network, and teacher is none"),
        ({"images_per_class": 20, "pool": 10}, "pool 10 holds fewer images than images_per_class 20"),
        ({"method": {"trajectory": {"epochs": 5, "start": 4}}}, "needs experts of 6 epochs, and they have 5"),
        ({"method": "gradients"}, "did you mean 'gradient'"),
        ({"images_per_class": 0}, "greater than or equal to 1"),
        ({"augmentation": ["colour"]}, "'color'"),
    ],
)
def test_contradicting_settings_are_refused_at_validation(fields, message):
    with pytest.raises(ValidationError, match=message):
        DatasetDistillation(**fields)


def test_the_stage_round_trips_and_shrinks():
    given = stage("trajectory")
    assert DatasetDistillation.model_validate_json(given.model_dump_json()) == given
    for name in QUICK:
        small = DatasetDistillation(method=name, images_per_class=50).smoke()
        assert small.images_per_class == 2
        assert DatasetDistillation.model_validate(json.loads(small.model_dump_json())) == small


def test_the_stage_is_read_without_torch():
    code = "import sys, compress.dataset_distillation.stage as s\n"
    code += "s.DatasetDistillation(method='gradient'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def chain(folder, **more):
    data = replace(toy_data(), test=ToySplit(24, 3))
    train = {"epochs": 2, "batch_size": 8, "lr": 0.01}
    stages = [stage("distribution", teacher="none", **more), Distill(**train, teacher="distilled"), Train(**train)]
    return Pipeline("chain", model=conv_net(), data=data, stages=stages).run(out=folder)


def test_later_stages_train_on_the_set_and_a_rerun_finds_everything(tmp_path, monkeypatch):
    records = []
    from compress.train import loop

    fit = loop.fit
    monkeypatch.setattr(loop, "fit", lambda *given, **more: records.append(len(given[1].data.train)) or fit(*given, **more))
    run = chain(tmp_path)
    assert records == [12, 12]
    folder = run.folder / "01-dataset_distillation"
    assert StageOutput(run.record.stages[0], folder, conv_net).training_set() == folder / "distilled.safetensors"
    again = chain(tmp_path)
    assert records == [12, 12]
    assert [item.key for item in again.record.stages] == [item.key for item in run.record.stages]
    assert "figures/01_dataset_distillation_distilled.png" in (run.folder / "report.md").read_text()
    assert (run.folder / "figures" / "01_dataset_distillation_distilled.png").is_file()
    assert run.record.stages[1].notes == ()


def test_a_set_that_is_not_used_leaves_the_data_as_it_is(tmp_path):
    with pytest.raises(DataError, match="teacher `distilled` needs a distilled training set"):
        chain(tmp_path, use=False)
