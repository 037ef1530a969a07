"""Teachers that use experts which the router leaves out: sampled passes, a router that follows the student, settings."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compress.core.errors import CompressError
from compress.core.stage import Candidate, Context
from compress.distill.losses.response import response
from compress.distill.stage import Distill
from compress.distill.teachers.expert_settings import KnowledgeAugmentation, StudentAwareRouter
from compress.distill.teachers.expert_teachers import AllExperts, SampledExperts, router_loss, with_routing
from compress.models.text.experts import mixtures
from compress.train.teachers.rows import distillable_rows
from tests.distill.teachers.test_settings import CutError, cut_after
from tests.models.text.expert_networks import SPEC, TASK, expert_decoder, next_tokens

pytest.importorskip("transformers")
BATCH = next(iter(next_tokens(6, 3).ordered(6)))
QUICK = {"epochs": 2, "batch_size": 16, "lr": 0.003, "losses": ["token_divergence", "task"]}


def context_in(folder: Path, **given: object) -> Context:
    data = type("Texts", (), {"train": next_tokens(48, 0), "validation": next_tokens(16, 1), "spec": SPEC})()
    teachers = given.pop("teachers", (Candidate(SPEC, expert_decoder(9)),))
    return Context(data=data, task=TASK, folder=folder, cache=folder, base=folder, device="cpu", teachers=teachers, **given)  # type: ignore[arg-type]


def student() -> Candidate:
    return Candidate(SPEC, expert_decoder(1, experts=2))


def test_passes_differ_and_are_as_many_as_set():
    torch.manual_seed(0)
    teacher = SampledExperts(expert_decoder(), TASK, 3)
    rows = [teacher.logits(BATCH), *teacher.further_logits(BATCH)]
    assert len(rows) == 3
    assert not torch.allclose(rows[0], rows[1])
    assert not torch.allclose(rows[1], rows[2])


def test_as_many_experts_as_are_chosen_leave_nothing_to_draw():
    network = expert_decoder(experts_per_token=4)
    teacher = SampledExperts(network, TASK, 2)
    expected = distillable_rows(network, BATCH, TASK)
    torch.testing.assert_close(teacher.logits(BATCH), expected, atol=1e-5, rtol=1e-5)


def test_the_loss_is_the_mean_over_the_passes(tmp_path):
    from compress.distill.losses.response import Response
    from compress.train.curriculum.settings import Curriculum
    from compress.train.features.matched_layers import FeatureMatcher
    from compress.train.teachers.online import TeacherOutputs
    from compress.train.weighted_loss import WeightedLoss

    terms = (Response(temperature=2.0),)
    z = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
    loss = WeightedLoss(terms, FeatureMatcher(terms, expert_decoder(), [], ()), TASK, 0.0, Curriculum())
    rows = type("Rows", (), {"logits": z[0], "targets": torch.zeros(5, dtype=torch.long)})()
    found = loss.loss(BATCH, {}, rows, {}, TeacherOutputs(z[1], further=(z[2],)), None, 0.0)
    expected = (response(z[0], z[1], T=2.0).mean() + response(z[0], z[2], T=2.0).mean()) / 2
    torch.testing.assert_close(found, expected)


def test_the_router_alone_learns_and_comes_nearer_to_the_student():
    network = expert_decoder()
    teacher = AllExperts(network, TASK, lr=0.02, task_weight=0.0)
    teacher.before_training(network, torch.device("cpu"))
    z_s = distillable_rows(expert_decoder(4), BATCH, TASK)
    first = teacher.logits(BATCH)
    torch.testing.assert_close(first, distillable_rows(with_routing(network, "all"), BATCH, TASK))
    y = TASK.distillable({"logits": network(**BATCH.inputs)}, BATCH.targets).targets
    before = float(router_loss(first, z_s, y, 0.0))
    for _ in range(20):
        teacher.logits(BATCH)
        teacher.after_batch(BATCH, z_s)
    assert float(router_loss(teacher.logits(BATCH), z_s, y, 0.0)) < before
    (own,) = teacher.networks(torch.device("cpu"))
    changed = {name for name, tensor in own.state_dict().items() if not torch.equal(tensor, network.state_dict()[name])}
    assert changed == {f"{name}.gate.weight" for name in mixtures(network)}


def test_the_loss_of_the_router_adds_the_labels():
    z_t, z_s = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 3, -100, 2])
    kept = y >= 0
    more = torch.nn.functional.cross_entropy(z_t[kept], y[kept])
    torch.testing.assert_close(router_loss(z_t, z_s, y, 2.0), router_loss(z_t, z_s, y, 0.0) + 2 * more)


@pytest.mark.parametrize("config", [KnowledgeAugmentation(), StudentAwareRouter(lr=0.01)], ids=["sampled", "router"])
def test_an_interrupted_training_continues_to_equal_weights(config, tmp_path, monkeypatch):
    stage = Distill(**QUICK, teacher=config)
    expected = stage.run(student(), context_in(tmp_path / "a"))
    context = context_in(tmp_path / "b")
    with monkeypatch.context() as patch:
        cut_after(patch, 5)
        with pytest.raises(CutError):
            stage.run(student(), context)
    result = stage.run(student(), context)
    own, other = (outcome.candidate.network().state_dict() for outcome in (result, expected))
    assert all(torch.equal(tensor, other[name]) for name, tensor in own.items())
    plain = Distill(**QUICK).run(student(), context_in(tmp_path / "c")).candidate.network().state_dict()
    assert any(not torch.equal(tensor, other[name]) for name, tensor in plain.items())


def test_teachers_without_experts_and_several_are_refused(tmp_path):
    dense = copy.deepcopy(expert_decoder())
    for name, part in mixtures(dense).items():
        dense.set_submodule(name, part.dense())
    context = context_in(tmp_path)
    with pytest.raises(CompressError, match="the teacher has no experts"):
        KnowledgeAugmentation().network(student(), replace(context, teachers=(Candidate(SPEC, dense),)))
    with pytest.raises(CompressError, match="one network, and the recipe has 2"):
        StudentAwareRouter().network(student(), replace(context, teachers=context.teachers * 2))
