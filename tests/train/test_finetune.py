from dataclasses import replace

import pytest
import torch

from compress.core.errors import CompressError
from compress.core.stage import Candidate
from compress.distill.losses.hard_labels import HardLabels
from compress.distill.losses.response import Response
from compress.train.finetune import cached_teacher, finetune, finetune_losses
from compress.train.settings import FinetuneSettings
from tests.train.toy_training import conv_net, toy_data

QUICK = {"epochs": 3, "batch_size": 16, "lr": 0.02}


@pytest.fixture
def context(make_context):
    data = toy_data()
    return make_context(data, teachers=(Candidate(data.spec, conv_net(7, width=16)),))


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_recovery_learns_from_parent_teacher_or_labels_alone(context):
    parent = conv_net(3)
    ends = []
    for teacher in ("parent", "teacher", "none"):
        module = conv_net()
        history = finetune(module, FinetuneSettings(**QUICK, teacher=teacher), parent=parent, context=context, label=teacher)
        assert history.epochs == 3
        ends.append(module)
    assert not same(ends[0], ends[1])
    assert not same(ends[1], ends[2])
    assert len(list(context.cache.iterdir())) == 2
    assert same(parent, conv_net(3))


def test_recovery_without_epochs_does_nothing(context):
    module = conv_net()
    assert finetune(module, FinetuneSettings(epochs=0), parent=conv_net(), context=context, label="x").epochs == 0
    assert same(module, conv_net())
    assert not list(context.folder.iterdir())


def test_recovery_from_a_teacher_that_is_not_there_says_what_to_do(context):
    with pytest.raises(CompressError, match="use parent or none"):
        finetune(
            conv_net(), FinetuneSettings(teacher="teacher"), parent=conv_net(), context=replace(context, teachers=()), label="x"
        )


def test_pruned_weights_stay_zero_when_each_step_restores_them(context):
    module = conv_net()
    mask = torch.rand_like(module[0].weight) > 0.5

    def restore():
        module[0].weight.data.mul_(mask)

    restore()
    settings = FinetuneSettings(**QUICK, teacher="none")
    finetune(module, settings, parent=conv_net(), context=context, label="masked", after_step=restore)
    assert torch.equal(module[0].weight.detach() != 0, mask)


def test_without_a_teacher_the_labels_replace_the_losses():
    assert finetune_losses(FinetuneSettings(teacher="none")) == (HardLabels(),)
    assert [type(term) for term in finetune_losses(FinetuneSettings())] == [Response, HardLabels]


def test_losses_on_labels_alone_compute_no_logits_of_a_teacher(context):
    settings = FinetuneSettings(**QUICK, losses=("task",))
    finetune(conv_net(), settings, parent=conv_net(3), context=context, label="labels")
    assert not context.cache.exists()


def test_cached_teachers_share_files_if_they_are_the_same_networks_in_the_same_order(context):
    first, second = conv_net(1), conv_net(2)
    folder = cached_teacher([first, second], context).folder
    assert cached_teacher([conv_net(1), conv_net(2)], context).folder == folder
    others = ([second, first], [first], [first, conv_net(3)])
    assert all(cached_teacher(networks, context).folder != folder for networks in others)
    assert cached_teacher([first, second], context, combine="confidence").folder != folder
    assert cached_teacher([first, second], context, k=2).folder != folder
