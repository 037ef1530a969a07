import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_model

from compress.backends.compare_on_split import collect_outputs
from compress.core.errors import CompressError
from compress.core.fact import Fact
from compress.core.stage import Candidate
from compress.distill.losses.response import response
from compress.distill.stage import Distill
from compress.train.stage import Train
from tests.train.toy_training import conv_net, toy_data, train

QUICK = {"epochs": 3, "batch_size": 16, "lr": 0.02}


class Forbidden:
    def __getattr__(self, name):
        raise AssertionError(f"a stage looked at test.{name}")


@pytest.fixture
def context(make_context, tmp_path):
    data = toy_data()
    teacher = conv_net(7, width=16)
    train(teacher, tmp_path / "teacher")
    return make_context(replace(data, test=Forbidden()), teachers=(Candidate(data.spec, teacher),))


def candidate(seed=0):
    return Candidate(toy_data().spec, conv_net(seed))


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("stage", [Train(**QUICK), Distill(**QUICK)])
def test_a_stage_trains_a_copy_and_tells_its_curves(context, stage):
    given = candidate()
    outcome = stage.run(given, context)
    assert same(given.network(), conv_net())
    assert not same(outcome.candidate.network(), conv_net())
    assert {"loss", "accuracy_validation"} <= set(outcome.curves)
    assert len(outcome.curves["loss"].y) == 3
    assert outcome.results["epochs"].value == 3


def test_distillation_brings_the_student_to_the_teachers_answers(context):
    teacher = context.teachers[0].network()
    stage = Distill(epochs=8, batch_size=16, lr=0.05, losses=({"response": {"temperature": 2.0}},))
    student = stage.run(candidate(), context).candidate.network()

    def loss(module):
        networks = (module, teacher)
        student_logits, teacher_logits = (
            collect_outputs(network, context.data.train, context.task).outputs["logits"] for network in networks
        )
        return response(student_logits, teacher_logits, T=2.0).mean().item()

    assert loss(student) < 0.2 * loss(conv_net())


def test_the_control_is_the_same_training_without_the_teacher(context):
    outcome = Distill(**QUICK, control=True).run(candidate(), context)
    alone = Train(**QUICK).run(candidate(), replace(context, folder=context.folder / "alone")).candidate.network()
    control = conv_net(5)
    load_model(control, context.folder / "control.safetensors")
    assert same(control, alone)
    collected = collect_outputs(alone, context.data.validation, context.task)
    right = collected.outputs["logits"].argmax(1) == collected.targets["target"]
    found = outcome.results["control_accuracy_validation"]
    assert found.value == pytest.approx(float(right.float().mean()))
    assert found.low <= found.value <= found.high
    assert found.runs == 24
    assert "control_loss" in outcome.curves


def test_the_control_of_a_student_with_new_weights_starts_from_the_same_ones(context):
    stage = Distill(**QUICK, teacher="born_again", control=True)
    stage.run(candidate(), context)
    born = Candidate(context.data.spec, stage.teacher.build_student(candidate(), context))
    alone = Train(**QUICK).run(born, replace(context, folder=context.folder / "alone")).candidate.network()
    control = conv_net(5)
    load_model(control, context.folder / "control.safetensors")
    assert same(control, alone)


def test_without_a_teacher_distill_says_what_to_do(context):
    with pytest.raises(CompressError, match=r"add `teacher: .*or use `train`"):
        Distill(**QUICK).run(candidate(), replace(context, teachers=()))


def test_losses_that_ask_nobody_need_no_teacher(context):
    stage = Distill(**QUICK, losses=["self_distillation_exits", {"virtual_teacher": {"weight": 0.1}}, "task"])
    outcome = stage.run(candidate(), replace(context, teachers=()))
    assert [row["student_layer"] for row in outcome.tables["matched_layers"]] == ["2"]
    assert outcome.results["epochs"].value == 3


@pytest.mark.parametrize("stage", [Train(epochs=9), Distill(epochs=9, control=True)])
def test_smoke_is_one_epoch_and_keeps_the_rest(stage):
    small = stage.smoke()
    assert (small.epochs, small.batch_size) == (1, 32)
    assert small.model_copy(update={"epochs": 9, "batch_size": stage.batch_size}) == stage


def test_a_stage_round_trips_through_json():
    stage = Distill(losses=({"task": {"weight": 0.4}}, {"response": {"weight": 0.6}}))
    assert Distill.model_validate_json(stage.model_dump_json()) == stage
    assert json.loads(stage.model_dump_json())["losses"][0] == {"task": {"weight": 0.4, "warmup": 0.0}}


def test_function_matching_needs_no_labels(context):
    found = Distill(mode="funmatch", **QUICK).run(candidate(), context)
    assert not same(found.candidate.network(), conv_net())
    assert Fact.of("train.teacher_online") in found.notes


@pytest.mark.parametrize("losses", [[], [{"task": {"weight": 0}}]])
def test_losses_that_add_up_to_nothing_are_refused(losses):
    with pytest.raises(ValidationError, match="none with a weight above 0"):
        Distill(losses=losses)


def test_the_stages_are_read_without_torch():
    code = "import sys, compress.distill.stage, compress.train.stage as s; s.Train(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("losses", "trains"), [(("hint",), False), (("hint", {"task": {"weight": 0.0}}), False), (("hint", "task"), True)]
)
def test_losses_on_layers_alone_do_not_train_the_answers(context, losses, trains):
    named = tuple({loss: {}} if isinstance(loss, str) else loss for loss in losses)
    assert Distill(**{**QUICK, "epochs": 1}, losses=named).run(candidate(), context).trains_answers is trains
