import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from compress import DatasetDistillation, Distill, Pipeline, Train
from compress.core.errors import CompressError, DataError, TrainingError
from compress.core.fact import Fact
from compress.core.sentences import render
from compress.core.stage import Candidate, Context
from compress.data.batch import UNLABELLED
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.sources.distilled_set import read
from compress.dataset_distillation import optimize_images
from compress.dataset_distillation.from_network import EmptySplit, invert
from compress.pipeline.stage_output import StageOutput
from compress.tasks.classification import Classification
from tests.train.toy_training import ToySplit, conv_net, toy_data

QUICK = {
    "random": {},
    "herding": {"epochs": 2},
    "gradient": {"iterations": 6, "inner": 3, "network_steps": 1, "batch": 8},
    "distribution": {"iterations": 6, "batch": 8},
    "trajectory": {"iterations": 4, "experts": 2, "epochs": 3, "start": 1, "steps": 2, "lr": 1.0},
    "inversion": {"iterations": 6},
}
MATCHING = ("gradient", "distribution", "trajectory")


class Forbidden:
    """A split that nobody may look at."""

    def __getattr__(self, name):
        raise AssertionError(name)


@pytest.fixture
def context(tmp_path):
    data = toy_data()
    data = replace(data, spec=data.spec.model_copy(update={"mean": (0.5,) * 3, "std": (0.125,) * 3}))
    teacher = conv_net(7)
    teacher.train()
    for batch in data.train.ordered(16):
        teacher(batch.inputs)
    return Context(
        data=replace(data, test=Forbidden()),
        task=Classification(),
        folder=tmp_path / "stage",
        cache=tmp_path / "cache",
        teachers=(Candidate(data.spec, teacher.eval()),),
        device="cpu",
    )


def stage(name, **more):
    return DatasetDistillation(**{"method": {name: QUICK[name]}, "images_per_class": 4, "width": 8, "depth": 2} | more)


def candidate():
    return Candidate(toy_data().spec, conv_net())


@pytest.mark.parametrize("name", QUICK)
def test_every_method_leaves_a_whole_set_and_passes_the_network_on(context, name):
    given = candidate()
    outcome = stage(name).run(given, context)
    found = read(context.folder)
    assert outcome.candidate is given
    assert outcome.training_set == context.folder / "distilled.safetensors"
    assert found.images.shape == (12, 3, 8, 8)
    assert found.targets.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert torch.allclose(found.soft.sum(1), torch.ones(12), atol=1e-5)
    assert torch.allclose(found.soft, context.teachers[0].network()(found.images).softmax(1), atol=1e-5)
    assert found.about.method == name
    assert found.about.fingerprint == context.data.train.fingerprint
    assert outcome.results["images"].value == 12
    assert 0 <= outcome.results["teacher_agreement"].value <= 1
    assert len(list((context.folder / "images").glob("*/*.png"))) == 12
    assert not list(context.folder.glob("*.pt"))
    if name not in ("random", "herding"):
        assert len(outcome.curves["matching_loss"].y) == QUICK[name]["iterations"]


@pytest.mark.parametrize("name", ["random", "herding"])
def test_a_selection_is_of_different_real_images_of_the_right_class(context, name):
    stage(name).run(candidate(), context)
    found, real = read(context.folder), toy_data().train
    rows = [int((real.inputs == image).flatten(1).all(1).nonzero()) for image in found.images]
    assert len(set(rows)) == 12
    assert torch.equal(real.targets[rows], found.targets)


@pytest.mark.parametrize("name", MATCHING)
def test_matching_starts_from_real_images_and_lowers_what_it_minimises(context, name):
    way = {"gradient": {"iterations": 40, "inner": 40, "network_steps": 0, "batch": 16}, "distribution": {"iterations": 60},
           "trajectory": {"iterations": 40, "experts": 1, "epochs": 2, "start": 0, "lr": 30.0, "steps": 4}}[name]  # fmt: skip
    outcome = stage(name, method={name: way}, augmentation=[]).run(candidate(), context)
    y = outcome.curves["matching_loss"].y
    assert np.mean(y[-5:]) < 0.9 * np.mean(y[:5])


def test_inversion_needs_no_image_and_leaves_the_teacher_as_it_was(context):
    teacher = context.teachers[0].network()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    blind = replace(context, data=replace(context.data, train=EmptySplit(), validation=Forbidden()))
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
    found = read(context.folder)
    assert torch.bincount(found.targets).tolist() == [5, 5, 5]
    assert Fact.of("dataset_distillation.curve_of_first_batch", batches=3) in outcome.notes


def test_inversion_from_a_network_alone_makes_a_source_that_can_be_trained_on(context, tmp_path):
    spec = context.data.spec
    file = invert(context.teachers[0].network(), spec, tmp_path / "dreamt", stage("inversion"))
    assert file.is_file()
    data = load_data(DataSettings(source="distilled:dreamt", image_size=8, test=0.25), base=tmp_path)
    assert len(data.train) == 6
    assert data.spec == spec


@pytest.mark.parametrize("name", [*MATCHING, "inversion"])
def test_an_interrupted_run_goes_on_to_the_same_bits(context, name, monkeypatch):
    monkeypatch.setattr(optimize_images, "EVERY_S", -1.0)
    more = {"images_per_class": 4, "method": {name: QUICK[name] | {"iterations": 6}}}
    stage(name, **more).run(candidate(), context)
    whole = read(context.folder)
    again = replace(context, folder=context.folder.with_name("again"))
    changes = optimize_images._step

    def cut(loss, optimizer, label, index):
        if index == 5:
            raise KeyboardInterrupt
        return changes(loss, optimizer, label, index)

    monkeypatch.setattr(optimize_images, "_step", cut)
    with pytest.raises(KeyboardInterrupt):
        stage(name, **more).run(candidate(), again)
    assert list(again.folder.glob("*.checkpoint.pt"))
    numbers = []
    monkeypatch.setattr(optimize_images, "_step", lambda *given: numbers.append(given[-1]) or changes(*given))
    stage(name, **more).run(candidate(), again)
    assert numbers[0] > 3
    assert torch.equal(read(again.folder).images, whole.images)


def test_without_a_teacher_labels_are_certain(context):
    outcome = stage("random", teacher="none").run(candidate(), context)
    found = read(context.folder)
    assert torch.equal(found.soft.argmax(1), found.targets)
    assert set(found.soft.unique().tolist()) == {0.0, 1.0}
    assert Fact.of("dataset_distillation.one_hot_labels") in outcome.notes
    assert all(render(note) for note in outcome.notes)
    alone = stage("random").run(candidate(), replace(context, teachers=(), folder=context.folder.with_name("other")))
    assert "teacher_agreement" not in alone.results


def test_the_control_is_as_many_random_images(context):
    outcome = stage("random", control=True).run(candidate(), replace(context, smoke=True))
    made, random = (outcome.results[f"{name}_accuracy_validation"] for name in ("set", "random"))
    assert made.value == random.value
    assert made.low <= made.value <= made.high


def test_pngs_and_the_figure_show_the_images(context):
    stage("random", use=False).run(candidate(), context)
    found = read(context.folder)
    with Image.open(context.folder / "images" / "001_green" / "002.png") as image:
        seen = np.asarray(image, dtype=np.float32) / 255
    expected = (found.images[6] * 0.125 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()
    assert np.abs(seen - expected).max() < 0.003
    with Image.open(context.folder / "figures" / "distilled.png") as image:
        assert image.info["Description"] == "the 12 images of the set, a row for each of 3 classes, made by random."
        assert np.asarray(image.convert("L")).std() > 20


def unlabelled(classes):
    split = ToySplit(48, 1)
    split.targets = torch.where(torch.isin(split.targets, torch.tensor(classes)), UNLABELLED, split.targets)
    return split


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"images_per_class": 17}, "asked for 17 images per class, and .* class 'red' has 16, 'green' has 16, 'blue' has 16"),
        ({"train": [1]}, "class 'green' has 0; lower images_per_class, or add labelled images"),
        ({"train": [0, 1, 2]}, "class 'red' has 0, 'green' has 0, 'blue' has 0"),
    ],
)
def test_too_few_labelled_images_are_refused(context, more, message):
    train = unlabelled(more["train"]) if "train" in more else context.data.train
    images = more.get("images_per_class", 4)
    with pytest.raises(DataError, match=message):
        stage("distribution", images_per_class=images).run(
            candidate(), replace(context, data=replace(context.data, train=train))
        )


def test_one_class_is_refused(context):
    spec = context.data.spec.model_copy(update={"classes": ("red",)})
    with pytest.raises(DataError, match="needs two classes or more, and the data has one"):
        stage("gradient", teacher="none").run(candidate(), replace(context, data=replace(context.data, spec=spec)))


def test_a_teacher_that_is_not_there_or_names_other_classes_is_refused(context):
    with pytest.raises(CompressError, match=r"add `teacher: .*or write teacher: parent"):
        stage("inversion").run(candidate(), replace(context, teachers=()))
    spec = context.data.spec.model_copy(update={"classes": ("red", "blue", "green")})
    other = replace(context, teachers=(replace(context.teachers[0], spec=spec),))
    with pytest.raises(CompressError, match="are not the data's"):
        stage("random").run(candidate(), other)


def test_a_learning_rate_that_blows_up_is_told(context):
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) at update .*lower lr in `method`"):
        stage("distribution", method={"distribution": {"iterations": 60, "lr": 1e30}}).run(candidate(), context)


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
def test_what_cannot_go_together_is_refused_at_validation(fields, message):
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
    seen = []
    from compress.train import loop

    fit = loop.fit
    monkeypatch.setattr(loop, "fit", lambda *given, **more: seen.append(len(more["data"].train)) or fit(*given, **more))
    run = chain(tmp_path)
    assert seen == [12, 12]
    folder = run.folder / "01-dataset_distillation"
    assert StageOutput(run.record.stages[0], folder, conv_net).training_set() == folder / "distilled.safetensors"
    again = chain(tmp_path)
    assert seen == [12, 12]
    assert [each.key for each in again.record.stages] == [each.key for each in run.record.stages]
    assert "figures/01_dataset_distillation_distilled.png" in (run.folder / "report.md").read_text()
    assert (run.folder / "figures" / "01_dataset_distillation_distilled.png").is_file()
    assert run.record.stages[1].notes == ()


def test_a_set_that_is_not_used_leaves_the_data_as_it_is(tmp_path):
    with pytest.raises(DataError, match="teacher `distilled` needs a distilled training set"):
        chain(tmp_path, use=False)
