import json
from dataclasses import replace

import pytest
from pydantic import ValidationError

from compress.core.errors import CompressError
from compress.core.stage import Candidate
from compress.core.user_code_key import user_code_key
from compress.distill.stage import Distill
from tests.distill.teachers.runs import QUICK, candidate, same, teacher_config
from tests.train.toy_training import conv_net

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
def test_interrupted_training_with_each_teacher_continues_to_equal_weights(context, name, monkeypatch):
    stage = Distill(**QUICK, teacher=teacher_config(name, context), losses=[{"response": {}}, "task"])
    expected = stage.run(candidate(), context)
    cut = replace(context, folder=context.folder / "cut")
    with monkeypatch.context() as patch:
        cut_after(patch, 5)
        with pytest.raises(CutError):
            stage.run(candidate(), cut)
    result = stage.run(candidate(), cut)
    assert same(result.candidate.network(), expected.candidate.network())
    assert result.curves == expected.curves
    assert not same(expected.candidate.network(), conv_net())


def test_each_teacher_makes_another_student(context):
    ends = [
        Distill(**QUICK, keep="last", teacher=teacher_config(name, context), losses=[{"response": {}}, "task"])
        .run(candidate(), replace(context, folder=context.folder / name))
        .candidate.network()
        for name in NAMES
    ]
    assert [(NAMES[i], NAMES[j]) for i, a in enumerate(ends) for j, b in enumerate(ends[:i]) if same(a, b)] == []


def test_teachers_with_other_classes_or_another_order_are_refused(context):
    spec = context.data.spec
    for classes, message in (
        (("red", "green"), "teacher 0 has 2 classes, the student 3"),
        (("green", "red", "blue"), "teacher 0 has class 'green' at index 0 where the student has 'red'"),
    ):
        other = replace(context, teachers=(Candidate(spec.model_copy(update={"classes": classes}), conv_net(7)),))
        with pytest.raises(CompressError, match=message):
            Distill(**QUICK).run(candidate(), other)


def test_cached_logits_of_few_classes_may_teach(context):
    outcome = Distill(**QUICK, cache={"k": 2}).run(candidate(), context)
    assert any((note.code, note.values["k"]) == ("train.teacher_logits_top_k", 2) for note in outcome.notes)


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
def test_invalid_teachers_are_refused_when_the_recipe_is_read(given, message):
    with pytest.raises(ValidationError, match=message):
        Distill(**given)


def test_a_stage_with_any_teacher_round_trips_through_json():
    for teacher in ("parent", {"snapshot": {"every": 2}}, {"mutual": {"peers": ["torchvision:resnet18"]}}, {"born_again": {}}):
        stage = Distill(teacher=teacher)
        assert Distill.model_validate(json.loads(stage.model_dump_json())) == stage


def test_a_changed_file_of_labels_is_another_stage(tmp_path):
    stage = Distill(teacher={"soft_label_file": {"file": "soft.safetensors"}})
    (tmp_path / "soft.safetensors").write_bytes(b"one")
    before = stage.file_hashes(tmp_path)
    assert stage.file_hashes(tmp_path) == before
    (tmp_path / "soft.safetensors").write_bytes(b"two")
    assert stage.file_hashes(tmp_path) != before


def test_a_function_teacher_without_its_file_is_refused_before_the_run(tmp_path):
    with pytest.raises(CompressError, match="no such file"):
        user_code_key(Distill(teacher={"function": {"function": "python:mine.py:ask"}}), tmp_path, trust_code=True)
