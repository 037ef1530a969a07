import math

import pytest
import torch
from torch import nn

from compress.backends.run_split import run_split
from compress.core.errors import DeviceError, TrainingError
from compress.core.fact import Fact
from compress.core.sentences import render
from compress.tasks.classification import Classification
from compress.train.settings import Training
from tests.train.toy_training import SETTINGS, Countdown, conv_net, plain_net, toy_data, train


def accuracy(module):
    return run_split(module, toy_data().validation, Classification()).metric


@pytest.mark.parametrize("schedule", ["cosine", "onecycle", "constant"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_separable_problem_is_learned(tmp_path, schedule, optimizer):
    module = conv_net()
    history = train(module, tmp_path, Training(epochs=8, batch_size=16, lr=0.02, schedule=schedule, optimizer=optimizer))
    assert accuracy(module) > 0.9
    assert history.curves["loss"].y[-1] < history.curves["loss"].y[0]
    assert history.curves["accuracy_validation"].x == tuple(range(1, 9))


def test_the_module_comes_back_in_eval_mode_contiguous_and_clean(tmp_path):
    module = conv_net()
    before = set(vars(module))
    train(module, tmp_path)
    assert not module.training
    assert all(p.is_contiguous() and p.grad is None and p.device.type == "cpu" for p in module.parameters())
    assert set(vars(module)) == before


def test_the_best_epoch_is_restored(tmp_path):
    module = conv_net()
    wreck = Countdown(10, lambda: module[0].weight.data.mul_(-30.0))
    history = train(module, tmp_path, Training(epochs=5, batch_size=16, lr=0.02, schedule="constant"), after_step=wreck)
    curve = history.curves["accuracy_validation"].y
    assert history.best_metric == max(curve) == curve[history.best_epoch - 1]
    assert accuracy(module) == pytest.approx(history.best_metric)
    assert min(curve) < max(curve)


def test_last_weights_are_kept_when_asked(tmp_path):
    module = conv_net()
    wreck = Countdown(15, lambda: module[-1].weight.data.zero_())
    history = train(
        module, tmp_path, Training(epochs=5, batch_size=16, lr=1e-9, weight_decay=0.0, keep="last"), after_step=wreck
    )
    assert float(module[-1].weight.detach().abs().max()) < 1e-6
    assert history.epochs == 5


def test_early_stopping_stops_and_says_so(tmp_path):
    history = train(conv_net(), tmp_path, Training(epochs=50, batch_size=16, lr=1e-12, schedule="constant", patience=2))
    assert history.epochs == 3
    assert history.best_epoch == 1
    assert history.notes == (Fact.of("train.stopped_early", epoch=3, epochs=50, metric="accuracy", patience=2),)
    assert render(history.notes[0]) == "stopped early after epoch 3 of 50: no better validation accuracy for 2 epochs"


class Explodes(nn.Module):
    def __init__(self, at):
        super().__init__()
        self.net, self.calls, self.at = plain_net(), 0, at

    def forward(self, x):
        self.calls += self.training
        return self.net(x) * (math.nan if self.training and self.calls == self.at else 1.0)


def test_a_loss_that_is_not_a_number_is_named_with_epoch_step_and_advice(tmp_path):
    with pytest.raises(
        TrainingError, match=r"the loss is nan in epoch 2, step 3 of 3; try a lower lr \(now 0\.001\), clip: 1\.0"
    ):
        train(Explodes(6), tmp_path, Training(epochs=4, batch_size=16))


def test_a_network_that_overflows_only_in_validation_is_named(tmp_path):
    module = plain_net()
    wreck = Countdown(3, lambda: module[-1].weight.data.fill_(math.nan))
    with pytest.raises(TrainingError, match="validation loss is nan after epoch 1"):
        train(module, tmp_path, Training(epochs=1, batch_size=16), after_step=wreck)


def test_global_random_state_is_left_alone_and_does_not_matter(tmp_path):
    nets = conv_net(), conv_net()
    torch.manual_seed(11)
    before = torch.get_rng_state()
    train(nets[0], tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(12)
    train(nets[1], tmp_path / "b")
    assert all(torch.equal(a, b) for a, b in zip(nets[0].state_dict().values(), nets[1].state_dict().values(), strict=True))


def test_seeds_make_a_difference(tmp_path):
    nets = conv_net(), conv_net()
    train(nets[0], tmp_path / "a", seed=1)
    train(nets[1], tmp_path / "b", seed=2)
    assert not torch.equal(nets[0][0].weight, nets[1][0].weight)


def test_precision_and_device_may_change_between_trainings_of_one_process(tmp_path):
    from accelerate import Accelerator

    own = Accelerator(cpu=True)
    for precision in ("no", "bf16", "auto"):
        train(conv_net(), tmp_path / precision, SETTINGS.model_copy(update={"precision": precision, "epochs": 1}))
    assert own.mixed_precision == "no"


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is there")
def test_a_device_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DeviceError, match=r"cuda.*--device auto or cpu"):
        train(conv_net(), tmp_path, device="cuda")


def test_an_unknown_device_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(DeviceError, match="did you mean 'cuda'"):
        train(conv_net(), tmp_path, device="cudda")


def test_half_precision_on_a_cpu_is_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"fp16.*needs a GPU"):
        train(conv_net(), tmp_path, Training(precision="fp16"))


class Counting:
    def __init__(self):
        self.totals, self.steps, self.notes = [], 0, []

    def bar(self, what, total):
        from contextlib import nullcontext

        self.totals.append((what, total))
        return nullcontext(self)

    def advance(self, steps=1, note=""):
        self.steps += steps
        self.notes.append(note)

    def line(self, text):
        raise AssertionError(text)


def test_one_bar_counts_all_steps(tmp_path):
    reporter = Counting()
    train(conv_net(), tmp_path, SETTINGS.model_copy(update={"accumulate": 2}), reporter=reporter, label="mine")
    assert reporter.totals == [("mine", 4 * 2)]
    assert reporter.steps == 8
    assert reporter.notes[-1].startswith("epoch 4/4 loss ")
    assert " val " in reporter.notes[-1]


def test_a_network_without_a_trained_weight_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="all parameters are frozen"):
        train(conv_net().requires_grad_(False), tmp_path)
