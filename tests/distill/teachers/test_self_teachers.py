"""Whom a student may imitate, and that a training with each goes on after an interruption with the same bits."""
# ruff: noqa: ARG005 - makers with different needs are called alike

import json
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from compress.core.errors import CompressError, DataError, MissingPackageError, TrainingError, TrustError
from compress.core.stage import Candidate, Context
from compress.distill.stage import Distill
from compress.distill.teachers.external import FileSoftLabels, write_soft_labels
from compress.distill.teachers.mutual import Peers
from compress.distill.teachers.self_teachers import EnsembleTeacher, MovingAverageTeacher, SnapshotTeacher, reinitialized
from compress.distill.teachers.settings import (
    BornAgain,
    FunctionTeacher,
    MovingAverage,
    ParentTeacher,
    PeerTeachers,
    RecipeTeacher,
    SoftLabelFile,
    StudentSnapshot,
    TemporalEnsemble,
)
from compress.tasks.classification import Classification
from tests.train.toy_training import SETTINGS, ToySplit, conv_net, toy_data

QUICK = {"epochs": 2, "batch_size": 16, "lr": 0.02}
CLASSES = toy_data().spec.classes


@pytest.fixture
def context(tmp_path):
    data = toy_data()
    teachers = tuple(Candidate(data.spec, conv_net(seed, width=8)) for seed in (7, 8))
    return Context(
        data=data,
        task=Classification(),
        folder=tmp_path / "stage",
        cache=tmp_path / "cache",
        teachers=teachers,
        device="cpu",
        base=tmp_path,
    )


def candidate(seed=0):
    return Candidate(toy_data().spec, conv_net(seed))


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def probabilities(split, seed=0):
    return torch.randn(len(split), 3, generator=torch.Generator().manual_seed(seed)).softmax(1)


def guide(name, context):
    if name in ("labels", "parquet"):
        file, seed = {"labels": ("soft.safetensors", 0), "parquet": ("soft.parquet", 1)}[name]
        write_soft_labels(context.base / file, probabilities(context.data.train, seed), context.data.train, CLASSES)
        return SoftLabelFile(file=file)
    return {
        "mean": RecipeTeacher(),
        "confidence": RecipeTeacher(combine="confidence"),
        "loss": RecipeTeacher(combine="loss"),
        "parent": ParentTeacher(),
        "snapshot": StudentSnapshot(),
        "average": MovingAverage(decay=0.9),
        "ensemble": TemporalEnsemble(),
        "born": BornAgain(twins=2),
        "mutual": PeerTeachers(peers=2),
    }[name]


NAMES = ["mean", "confidence", "loss", "parent", "snapshot", "average", "ensemble", "born", "mutual", "labels", "parquet"]


class CutError(Exception):
    pass


def cut_after(monkeypatch, step):
    """Let the training die at a step of its second epoch."""
    from compress.train.optimizer_step import TrainStep

    update, steps = TrainStep.update, []

    def dying(self, *args):
        steps.append(1)
        if len(steps) == step:
            raise CutError
        update(self, *args)

    monkeypatch.setattr(TrainStep, "update", dying)


@pytest.mark.parametrize("name", NAMES)
def test_a_training_goes_on_after_an_interruption_with_the_same_bits(context, name, monkeypatch):
    stage = Distill(**QUICK, teacher=guide(name, context), losses=[{"response": {}}, "task"])
    expected = stage.run(candidate(), context)
    cut = replace(context, folder=context.folder / "cut")
    with monkeypatch.context() as patch:
        cut_after(patch, 5)
        with pytest.raises(CutError):
            stage.run(candidate(), cut)
    found = stage.run(candidate(), cut)
    assert same(found.candidate.network(), expected.candidate.network())
    assert found.curves == expected.curves
    assert not same(expected.candidate.network(), conv_net())


def test_each_teacher_makes_another_student(context):
    ends = [
        Distill(**QUICK, keep="last", teacher=guide(name, context), losses=[{"response": {}}, "task"])
        .run(candidate(), replace(context, folder=context.folder / name))
        .candidate.network()
        for name in NAMES
    ]
    assert [(NAMES[i], NAMES[j]) for i, a in enumerate(ends) for j, b in enumerate(ends[:i]) if same(a, b)] == []


def started(teacher, student=None):
    teacher.before_training(student or conv_net(), torch.device("cpu"))
    return teacher


def batch_of(split=None, size=6):
    return next(iter((split or ToySplit(48, 1)).epoch(0, size, 0)))


def test_a_snapshot_is_the_student_of_the_last_full_period():
    teacher, batch = started(SnapshotTeacher(2)), batch_of()
    later = conv_net(5)
    teacher.after_epoch(later, 0)
    assert teacher.logits(batch) is None
    teacher.after_epoch(later, 1)
    teacher.after_epoch(conv_net(6), 2)
    with torch.no_grad():
        torch.testing.assert_close(teacher.logits(batch), later(batch.inputs))


def test_the_moving_average_follows_the_student():
    student = conv_net()
    teacher = started(MovingAverageTeacher(0.9), student)
    with torch.no_grad():
        torch.testing.assert_close(teacher.logits(batch_of()), student(batch_of().inputs))
    for _ in range(400):
        teacher.after_step(conv_net(3))
    with torch.no_grad():
        torch.testing.assert_close(teacher.logits(batch_of()), conv_net(3)(batch_of().inputs), rtol=1e-3, atol=1e-3)


def test_the_ensemble_is_the_weighted_mean_of_the_students_answers():
    teacher, batch = started(EnsembleTeacher(0.6, 48, 3)), batch_of()
    assert teacher.logits(batch) is None
    answers = [probabilities(range(6), seed) for seed in range(3)]
    for p in answers:
        teacher.after_batch(batch, p.log())
    weights = [0.6**2, 0.6, 1.0]
    expected = sum(w * p for w, p in zip(weights, answers, strict=True)) / sum(weights)
    torch.testing.assert_close(teacher.logits(batch).exp(), expected)
    other = next(iter(ToySplit(48, 1).epoch(1, 48, 0)))
    assert teacher.logits(other) is None
    with pytest.raises(TrainingError, match="does not number them; use `snapshot`"):
        teacher.logits(batch._replace(samples=None))


def test_peers_learn_from_the_labels_and_from_each_other():
    peers = [conv_net(3), conv_net(4)]
    before = [one.state_dict()["0.weight"].clone() for one in peers]
    training = SETTINGS.model_copy(update={"lr": 0.05})
    teacher = started(Peers(peers, training, toy_data(), Classification(), 1.0))
    batch = batch_of(size=16)
    first = teacher.logits(batch)
    for _ in range(20):
        teacher.logits(batch)
        teacher.after_batch(batch, torch.zeros(16, 3))
        teacher.after_step(conv_net())
    loss = torch.nn.functional.cross_entropy
    assert loss(teacher.logits(batch), batch.targets) < loss(first, batch.targets)
    assert not any(torch.equal(a, b.state_dict()["0.weight"]) for a, b in zip(before, peers, strict=True))
    assert not teacher.logits(batch).requires_grad


def test_a_network_is_born_again_with_other_weights_from_the_seed():
    net = conv_net()
    assert not torch.equal(reinitialized(net, 1)[0].weight, net[0].weight)
    assert same(reinitialized(net, 1), reinitialized(net, 1))
    assert not same(reinitialized(net, 1), reinitialized(net, 2))
    assert same(net, conv_net())


def test_twins_come_one_after_the_other_and_stand_in_the_results(context):
    outcome = Distill(**QUICK, teacher=BornAgain(twins=3)).run(candidate(), context)
    found = {name: quantity.detail for name, quantity in outcome.results.items() if name.startswith("assistant")}
    assert list(found) == ["assistant_1", "assistant_2"]
    assert found["assistant_2"].startswith("generation 2, on validation")


def test_several_processes_are_refused_where_a_teacher_would_differ_among_them(monkeypatch):
    monkeypatch.setattr("compress.distill.teachers.self_teachers.world_size", lambda: 2)
    with pytest.raises(TrainingError, match="'ensemble' works in one process only, this launch has 2"):
        started(EnsembleTeacher(0.6, 48, 3))
    with pytest.raises(TrainingError, match="'mutual' works in one process only"):
        started(Peers([conv_net()], SETTINGS, toy_data(), Classification(), 1.0))


def test_soft_labels_are_read_for_the_samples_of_a_batch(tmp_path):
    split = ToySplit(48, 1)
    soft = probabilities(split)
    write_soft_labels(tmp_path / "a.safetensors", soft, split, CLASSES)
    teacher, batch = FileSoftLabels(tmp_path / "a.safetensors", split, CLASSES), batch_of(split)
    torch.testing.assert_close(teacher.logits(batch).softmax(1), soft[batch.samples])
    with pytest.raises(DataError, match="does not number them"):
        teacher.logits(batch._replace(samples=None))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda path, split: write_soft_labels(path, probabilities(ToySplit(30, 1)), ToySplit(30, 1), CLASSES),
            r"30×3, needed 48 samples × 3",
        ),
        (lambda path, split: write_soft_labels(path, probabilities(split), ToySplit(48, 9), CLASSES), r"made for other data"),
        (
            lambda path, split: write_soft_labels(path, probabilities(split), split, ("green", "red", "blue")),
            r"in another order",
        ),
        (lambda path, split: path.write_bytes(b"nothing"), r"holds no soft labels named 'probabilities'"),
        (lambda path, split: None, r"no soft labels at .*write_soft_labels"),
    ],
)
@pytest.mark.parametrize("kind", ["safetensors", "parquet"])
def test_a_file_of_other_length_data_classes_or_none_is_refused(tmp_path, make, message, kind):
    split, path = ToySplit(48, 1), tmp_path / f"a.{kind}"
    make(path, split)
    with pytest.raises(DataError, match=message):
        FileSoftLabels(path, split, CLASSES)


def test_what_is_no_probability_is_not_written(tmp_path):
    split = ToySplit(48, 1)
    wrong = probabilities(split)
    wrong[3] *= 2
    with pytest.raises(DataError, match=r"row 3 holds no probabilities \(its sum is 2\)"):
        write_soft_labels(tmp_path / "a.safetensors", wrong, split, CLASSES)


def test_parquet_without_its_package_gives_the_install_line(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingPackageError, match=r"compress\[parquet\]"):
        write_soft_labels(tmp_path / "a.parquet", probabilities(ToySplit(48, 1)), ToySplit(48, 1), CLASSES)


def test_parquet_holds_the_same(tmp_path):
    split = ToySplit(48, 1)
    soft = probabilities(split)
    write_soft_labels(tmp_path / "a.parquet", soft, split, CLASSES)
    teacher, batch = FileSoftLabels(tmp_path / "a.parquet", split, CLASSES), batch_of(split)
    torch.testing.assert_close(teacher.logits(batch), soft[batch.samples].log())
    write_soft_labels(tmp_path / "a.safetensors", soft, split, CLASSES)
    assert torch.equal(teacher.logits(batch), FileSoftLabels(tmp_path / "a.safetensors", split, CLASSES).logits(batch))


def test_parquet_with_lists_of_any_kind_in_several_groups_is_read(tmp_path):
    import pyarrow
    import pyarrow.parquet

    split, path = ToySplit(48, 1), tmp_path / "a.parquet"
    soft = probabilities(split)
    write_soft_labels(path, soft, split, CLASSES)
    about = pyarrow.parquet.read_schema(path).metadata
    rows = pyarrow.array(soft.double().tolist(), pyarrow.list_(pyarrow.float64()))
    table = pyarrow.table({"probabilities": rows}).replace_schema_metadata(about)
    pyarrow.parquet.write_table(table, path, row_group_size=20)
    batch = batch_of(split)
    torch.testing.assert_close(FileSoftLabels(path, split, CLASSES).logits(batch), soft[batch.samples].log())


@pytest.mark.parametrize(
    ("column", "rows"),
    [
        ("answers", [[0.5, 0.5, 0.0]] * 48),
        ("probabilities", [0.5] * 48),
        ("probabilities", ["red"] * 48),
        ("probabilities", [["a", "b", "c"]] * 48),
        ("probabilities", [[0.5, 0.5, 0.0]] * 47 + [[1.0]]),
        ("probabilities", None),
    ],
)
def test_parquet_that_holds_no_table_of_numbers_is_refused(tmp_path, column, rows):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    if rows is None:
        path.write_bytes(b"PAR1 and no more")
    else:
        pyarrow.parquet.write_table(pyarrow.table({column: rows}), path)
    with pytest.raises(DataError, match="holds no soft labels named 'probabilities'"):
        FileSoftLabels(path, ToySplit(48, 1), CLASSES)


ORACLE = """
import numpy as np

def brightest(images):
    means = images.numpy().mean((2, 3))
    return np.exp(means) / np.exp(means).sum(1, keepdims=True)

def wrong(images):
    return np.ones((len(images), 2)) / 2
"""


def test_a_function_of_the_users_own_teaches_if_it_is_trusted(context):
    (context.base / "mine.py").write_text(ORACLE)
    stage = Distill(**QUICK, teacher=FunctionTeacher(function="python:mine.py:brightest"))
    with pytest.raises(TrustError, match="--trust-code"):
        stage.run(candidate(), context)
    trusted = replace(context, trust_code=True)
    outcome = stage.run(candidate(), trusted)
    assert len(list(context.cache.glob("logits-*/*.npy"))) == 2
    assert outcome.curves["loss"].y[-1] < outcome.curves["loss"].y[0]
    with pytest.raises(DataError, match=r"wrong: soft labels of shape 48×2, needed 48 samples × 3 classes"):
        Distill(**QUICK, teacher=FunctionTeacher(function="python:mine.py:wrong")).run(candidate(), trusted)


def test_teachers_with_other_classes_or_another_order_are_refused(context):
    spec = context.data.spec
    for classes, message in (
        (("red", "green"), "teacher 0 has 2 classes, the student 3"),
        (("green", "red", "blue"), "teacher 0 has class 'green' at index 0 where the student has 'red'"),
    ):
        other = replace(context, teachers=(Candidate(spec.model_copy(update={"classes": classes}), conv_net(7)),))
        with pytest.raises(CompressError, match=message):
            Distill(**QUICK).run(candidate(), other)


def test_answers_of_few_classes_may_teach(context):
    outcome = Distill(**QUICK, cache={"k": 2}).run(candidate(), context)
    assert any((note.code, note.values["k"]) == ("train.teacher_logits_top_k", 2) for note in outcome.notes)


def test_a_chain_of_assistants_comes_from_the_recipe(context, monkeypatch):
    built = []

    def build(source, _, seed):
        built.append(source)
        return conv_net(seed)

    monkeypatch.setattr("compress.distill.teachers.self_teachers.build_network", build)
    outcome = Distill(**QUICK, assistants=["torchvision:resnet34", "torchvision:resnet18"]).run(candidate(), context)
    assert built == ["torchvision:resnet34", "torchvision:resnet18"]
    assert outcome.results["assistant_2"].detail == "torchvision:resnet18, on validation, on the way to the student"


NETWORK = """
from torch import nn

def middle(num_classes):
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, num_classes))
"""


@pytest.mark.parametrize(
    "given", [{"assistants": ["python:mine.py:middle"]}, {"teacher": {"mutual": {"peers": ["python:mine.py:middle"]}}}]
)
def test_a_network_of_the_users_own_may_stand_between_or_beside_if_it_is_trusted(context, given):
    stage = Distill(**QUICK, **given)
    with pytest.raises(CompressError, match="no such file"):
        stage.file_hashes(context.base)
    (context.base / "mine.py").write_text(NETWORK)
    with pytest.raises(TrustError, match="--trust-code"):
        stage.run(candidate(), context)
    outcome = stage.run(candidate(), replace(context, trust_code=True))
    assert not same(outcome.candidate.network(), conv_net())
    before = stage.file_hashes(context.base)
    (context.base / "mine.py").write_text(NETWORK + "#")
    assert before != stage.file_hashes(context.base)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"teacher": "parentt"}, "did you mean 'parent'"),
        ({"teacher": {"snapshot": {"every": 0}}}, "greater than or equal to 1"),
        ({"teacher": {"soft_label_file": {"file": "a.csv"}}}, "pattern"),
        ({"teacher": {"function": {"function": "mine.py:f"}}}, "pattern"),
        ({"teacher": {"mutual": {"peers": ["resnet18"]}}}, "write torchvision:NAME"),
        ({"assistants": ["resnet18"]}, "write torchvision:NAME"),
        ({"cache": {"k": 0}}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_refused_when_the_recipe_is_read(given, message):
    with pytest.raises(ValidationError, match=message):
        Distill(**given)


def test_a_stage_with_any_teacher_round_trips_through_json():
    for teacher in ("parent", {"snapshot": {"every": 2}}, {"mutual": {"peers": ["torchvision:resnet18"]}}, {"born_again": {}}):
        stage = Distill(teacher=teacher)
        assert Distill.model_validate(json.loads(stage.model_dump_json())) == stage


@pytest.mark.parametrize(
    ("teacher", "name"),
    [
        ({"soft_label_file": {"file": "soft.safetensors"}}, "soft.safetensors"),
        ({"function": {"function": "python:mine.py:ask"}}, "mine.py"),
    ],
)
def test_a_changed_file_of_labels_or_code_is_another_stage(tmp_path, teacher, name):
    stage = Distill(teacher=teacher)
    (tmp_path / name).write_bytes(b"one")
    before = stage.file_hashes(tmp_path)
    assert stage.file_hashes(tmp_path) == before
    (tmp_path / name).write_bytes(b"two")
    assert stage.file_hashes(tmp_path) != before


def test_an_oracle_without_its_file_is_told_before_anything_runs(tmp_path):
    with pytest.raises(CompressError, match="no such file"):
        Distill(teacher={"function": {"function": "python:mine.py:ask"}}).file_hashes(tmp_path)
