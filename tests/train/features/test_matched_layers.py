"""Taps, the matching of layers, and what is learned beside the student."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.sentences import render
from compress.distill.losses.attention import AttentionMaps
from compress.distill.losses.contrastive import Contrastive
from compress.distill.losses.features import Cosine, Direct, Embedding, Hint
from compress.distill.losses.fsp import Fsp
from compress.distill.losses.hard_labels import HardLabels
from compress.distill.losses.jacobian import Jacobian
from compress.distill.losses.response import Response
from compress.distill.losses.rkd import RkdAngle, RkdDistance
from compress.distill.losses.self_distillation_exits import SelfDistillationExits, exit_loss
from compress.distill.losses.similarity import Similarity
from compress.tasks.classification import Classification
from compress.train.features.matched_layers import FeatureMatcher
from compress.train.teachers.cached_logits import CachedTeacher
from compress.train.teachers.logit_shards import LogitFolder
from tests.train.features.networks import INPUTS, Recurrent, Transformer, seeded, staged
from tests.train.toy_training import SETTINGS, Countdown, conv_net, toy_data, train


def hooks(module):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def pairs(student, teacher, term, inputs=INPUTS):
    sight = FeatureMatcher((term,), student, [teacher], inputs)
    return [(joint.student, joint.teacher) for joint in sight.matched[0]]


def teach(student, teacher, term, folder, settings=SETTINGS, **more):
    data = toy_data()
    answers = CachedTeacher([teacher], data.train, Classification(), key="t", cache=LogitFolder(folder / "cache"), device="cpu")
    return train(student, folder, settings, data=data, terms=(HardLabels(weight=0.5), term), teacher=answers, **more)


FEATURE_TERMS = [
    Hint(), Cosine(), Similarity(), Fsp(), RkdDistance(), RkdAngle(), Contrastive(width=8), Jacobian(),
    Direct(layers=["pool"]), Contrastive(width=8, memory={"negatives": 20}),
]  # fmt: skip


@pytest.mark.parametrize("term", FEATURE_TERMS, ids=lambda term: type(term).__name__)
def test_a_training_with_features_goes_on_after_an_interruption_with_the_same_bits(tmp_path, term):
    widths = (8, 6) if isinstance(term, Direct) else (8, 8)
    students = [staged() for _ in range(3)]
    names = list(students[0].state_dict())
    settings = SETTINGS.model_copy(update={"epochs": 2})
    expected = teach(students[0], staged(1, widths), term, tmp_path / "whole", settings)

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        teach(students[1], staged(1, widths), term, tmp_path / "cut", settings, after_step=Countdown(5, interrupt))
    found = teach(students[2], staged(1, widths), term, tmp_path / "cut", settings)
    assert found == expected
    assert list(students[2].state_dict()) == names
    assert hooks(students[2]) == 0
    for a, b in zip(students[0].state_dict().values(), students[2].state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert Fact.of("train.teacher_online") in expected.notes
    assert expected.teacher_s > 0
    assert not (tmp_path / "whole" / "cache").exists()


@pytest.mark.parametrize("term", [Hint(), AttentionMaps(), AttentionMaps(distance="mse"), Embedding()])
def test_a_transformer_learns_from_a_wider_one(tmp_path, term):
    student, teacher = seeded(lambda: Transformer(1)), seeded(lambda: Transformer(2, 16, 4), 1)
    history = teach(student, teacher, term, tmp_path, SETTINGS.model_copy(update={"epochs": 1}))
    (row,) = history.matched
    assert row["teacher_layer"].startswith(("blocks.1", "patches"))


def test_the_match_stands_in_the_history(tmp_path):
    history = teach(staged(), staged(1, (8, 8)), Hint(), tmp_path, SETTINGS.model_copy(update={"epochs": 1}))
    note = next(note for note in history.notes if note.code == "train.layers_matched")
    assert render(note) == "loss 'hint' matched stage0 (4×4×4) from stage0 (8×4×4); stage1 (6×2×2) from stage1 (8×2×2)"
    assert [row["student_layer"] for row in history.matched] == ["stage0", "stage1"]


def test_a_branch_equals_the_formula():
    from math import exp, log

    generator = torch.Generator().manual_seed(0)
    z_b, z = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    y = torch.tensor([1, -100, 3])

    def p(row, temperature):
        return [exp(v / temperature) / sum(exp(u / temperature) for u in row) for v in row]

    expected = []
    for n, (b, row) in enumerate(zip(z_b.tolist(), z.tolist(), strict=True)):
        hard = -log(p(b, 1.0)[y[n]]) if y[n] >= 0 else 0.0
        soft = 4 * sum(t * log(t / s) for t, s in zip(p(row, 2.0), p(b, 2.0), strict=True))
        expected.append(0.7 * hard + 0.3 * soft)
    torch.testing.assert_close(exit_loss(z_b, z, y, alpha=0.3, T=2.0), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("term", [SelfDistillationExits(), SelfDistillationExits(layers=["stage0", -1])])
def test_branches_teach_earlier_layers_without_a_teacher_and_leave_nothing(tmp_path, term):
    student = staged()
    names = list(student.state_dict())
    history = train(student, tmp_path, terms=(HardLabels(), term))
    expected = ["stage0"] if term.layers == "auto" else ["stage0", "stage1"]
    assert [row["student_layer"] for row in history.matched] == expected
    assert history.matched[0]["teacher_shape"] == [3]
    assert list(student.state_dict()) == names
    assert hooks(student) == 0
    plain = staged()
    train(plain, tmp_path / "plain")
    assert not torch.equal(plain.stage0[0].weight, student.stage0[0].weight)


def test_branches_need_a_layer_to_leave_from():
    with pytest.raises(ModelError, match="loss 'self_distillation_exits': self-distillation exits need two layers or more"):
        FeatureMatcher((SelfDistillationExits(),), staged(widths=(4,)), [], INPUTS)


def test_hints_bring_the_students_features_to_the_teachers(tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 12, "lr": 0.05})
    data = toy_data()
    answers = CachedTeacher([staged(1)], data.train, Classification(), key="t", cache=LogitFolder(tmp_path), device="cpu")
    loss = train(staged(), tmp_path, settings, data=data, terms=(Hint(),), teacher=answers).curves["loss"].y
    assert loss[-1] < 0.2 * loss[0]


def test_adapters_are_trained_with_the_student():
    term = Hint()
    sight = FeatureMatcher((term,), staged(), [staged(1, (8, 8))], INPUTS)
    assert sorted(p.shape for p in sight.loss_modules.parameters()) == sorted([(8, 4, 1, 1), (8,), (8, 6, 1, 1), (8,)])
    same = FeatureMatcher((term,), staged(), [staged(1)], INPUTS)
    assert list(same.loss_modules.parameters()) == []


def test_several_teachers_are_all_looked_into(tmp_path):
    data = toy_data()
    teachers, cache = [staged(1, (8, 8)), staged(2, (4, 6))], LogitFolder(tmp_path)
    answers = CachedTeacher(teachers, data.train, Classification(), key="t", cache=cache, device="cpu")
    settings = SETTINGS.model_copy(update={"epochs": 1})
    history = train(staged(), tmp_path, settings, data=data, terms=(HardLabels(), Fsp()), teacher=answers)
    assert [row["teacher"] for row in history.matched] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "make", [Recurrent, lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 3))]
)
@pytest.mark.parametrize("term", [Response(), RkdDistance(), Similarity(layers=[{"student": -1, "teacher": "pool"}])])
def test_a_student_of_another_kind_learns_from_a_convolutional_teacher(tmp_path, make, term):
    student = seeded(make)
    if isinstance(term, Similarity):
        layer = "rows" if isinstance(student, Recurrent) else "1"
        term = Similarity(layers=[{"student": layer, "teacher": "pool"}])
    history = teach(student, staged(1), term, tmp_path, SETTINGS.model_copy(update={"epochs": 1}))
    assert history.epochs == 1


def test_the_gradient_of_the_student_enters_the_loss(tmp_path):
    teacher, student = conv_net(1), conv_net()
    settings = SETTINGS.model_copy(update={"epochs": 1, "keep": "last"})
    with_it, without = conv_net(), conv_net()
    teach(with_it, teacher, Jacobian(weight=5.0), tmp_path / "a", settings)
    train(without, tmp_path / "b", settings, terms=(HardLabels(weight=0.5),))
    assert not torch.equal(with_it[0].weight, without[0].weight)
    assert torch.equal(student[0].weight, conv_net()[0].weight)


def test_feature_losses_are_read_without_torch():
    code = (
        "import sys; from compress.distill.stage import Distill; "
        "Distill(losses=[{'hint': {'layers': ['a', -1]}}, 'fsp', 'contrastive', 'jacobian']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
