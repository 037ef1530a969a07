"""Low-rank adapters: the function at the start, merging, targets, and trainings that are interrupted."""

import copy
import sys

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from compress.core.errors import MissingPackageError, TrainingError
from compress.core.sentences import render
from compress.distill.losses.features import Hint
from compress.distill.losses.hard_labels import HardLabels
from compress.tasks.classification import Classification
from compress.train.adapters import add_adapters
from compress.train.curriculum.settings import Curriculum
from compress.train.loop import fit
from compress.train.plan import TrainingPlan
from compress.train.settings import Lora, Training
from compress.train.teachers.cached_logits import CachedTeacher
from compress.train.teachers.logit_shards import LogitFolder
from tests.train.toy_training import conv_net, toy_data, train

pytest.importorskip("peft")
SETTINGS = Training(epochs=3, batch_size=16, lr=0.02, lora=Lora(rank=2, targets=("*",)))


def inputs():
    return next(iter(toy_data().train.ordered(8))).inputs["input"]


class Product(nn.Module):
    """A product whose weight goes through another module, as in a quantized graph."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 24, generator=torch.Generator().manual_seed(1)))
        self.rounding = Rounding()

    def forward(self, x):
        return x @ self.rounding(self.weight).T


class Rounding(nn.Module):
    trains_beside_adapters = True

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return (x / self.scale).round() * self.scale


def test_nothing_changes_before_the_first_step_and_a_frozen_weight_stays():
    module = conv_net()
    before = copy.deepcopy(module)
    frozen = module[0].weight
    frozen.requires_grad_(False)
    adapters = add_adapters(module, Lora(rank=2, targets=("*",)), seed=0)
    assert torch.equal(module(inputs()), before(inputs()))
    trained = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    assert trained == ["6.lora_A.default.weight", "6.lora_B.default.weight"]
    adapters.merge()
    assert torch.equal(module(inputs()), before(inputs()))
    assert [name for name, parameter in module.named_parameters() if not parameter.requires_grad] == ["0.weight"]


def test_after_a_training_the_network_has_its_own_layers_and_a_change_of_low_rank(tmp_path):
    module = conv_net()
    before, own = copy.deepcopy(module), set(vars(module))
    history = train(module, tmp_path, SETTINGS)
    assert {name: type(part) for name, part in module.named_modules()} == {
        name: type(part) for name, part in before.named_modules()
    }
    assert set(vars(module)) == own
    assert all(parameter.requires_grad for parameter in module.parameters())
    change = module[6].weight.detach() - before[6].weight.detach()
    assert torch.linalg.matrix_rank(change, atol=1e-5) == 2
    assert torch.equal(module[6].bias, before[6].bias)
    assert torch.equal(module[1].weight, before[1].weight)
    (note,) = [note for note in history.notes if note.code == "train.lora"]
    assert "LoRA of rank 2 in 2 layers: 120 parameters" in render(note)


def test_the_merged_network_is_the_one_that_was_validated(tmp_path):
    from compress.backends.run_split import run_split

    module = conv_net()
    history = train(module, tmp_path, SETTINGS)
    found = run_split(module, toy_data().validation, Classification())
    assert found.metric == pytest.approx(history.best_metric)
    best = history.curves["loss_validation"].y[history.best_epoch - 1]
    assert found.loss == pytest.approx(best, abs=1e-5)


def test_a_second_call_and_an_interrupted_training_give_equal_weights(tmp_path, monkeypatch):
    from compress.train.optimizer_step import TrainStep

    expected = conv_net()
    train(expected, tmp_path / "whole", SETTINGS)
    again = conv_net()
    train(again, tmp_path / "whole", SETTINGS)
    update, steps = TrainStep.update, []

    def dying(self, *args):
        steps.append(1)
        if len(steps) == 5:
            raise KeyboardInterrupt
        update(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "update", dying)
        with pytest.raises(KeyboardInterrupt):
            train(conv_net(), tmp_path / "cut", SETTINGS)
    continued = conv_net()
    train(continued, tmp_path / "cut", SETTINGS)
    for other in (again, continued):
        assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in expected.state_dict().items())


def test_a_moving_average_of_adapters_is_merged(tmp_path):
    module = conv_net()
    train(module, tmp_path, SETTINGS.model_copy(update={"ema": 0.5, "keep": "last"}))
    assert isinstance(module[6], nn.Linear)
    assert type(module[6]) is nn.Linear


def test_the_weight_of_a_product_in_a_quantized_graph_gets_an_adapter_before_it_is_rounded():
    module = nn.Sequential(nn.Flatten(), Product())
    adapters = add_adapters(module, Lora(rank=2, targets=("1",)), seed=0)
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    assert [name.rpartition(".")[2] for name in names] == ["scale", "weight", "weight"]
    x = torch.randn(4, 24, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.3)
    expected = module(x)
    adapters.merge()
    assert type(module[1]) is Product
    torch.testing.assert_close(module(x), expected)
    with pytest.raises(TrainingError, match=r"lora.dropout is for layers, and 1 is a weight"):
        add_adapters(module, Lora(rank=2, targets=("1",), dropout=0.1), seed=0)


def test_a_name_that_matches_nothing_and_shared_weights_are_refused():
    module = nn.ModuleDict({"q_proj": nn.Linear(4, 4), "table": nn.Embedding(9, 4), "head": nn.Linear(4, 9, bias=False)})
    with pytest.raises(TrainingError, match=r"'q_prj' names no layer .* did you mean 'q_proj'\?"):
        add_adapters(module, Lora(targets=("q_prj",)), seed=0)
    module["head"].weight = module["table"].weight
    with pytest.raises(TrainingError, match="'head' names no layer"):
        add_adapters(module, Lora(targets=("head",)), seed=0)
    assert "lora" not in str(module)


def test_modules_that_are_trained_whole_have_no_adapter():
    module = conv_net()
    add_adapters(module, Lora(targets=("*",), whole=("6",)), seed=0)
    trained = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    assert trained == ["0.lora_A.default.weight", "0.lora_B.default.weight", "6.weight", "6.bias"]


def test_hooks_that_change_single_weights_are_refused(tmp_path):
    with pytest.raises(TrainingError, match="or prune whole channels"):
        train(conv_net(), tmp_path, SETTINGS, after_step=lambda: None)


def test_balancing_by_gradients_of_weights_is_refused(tmp_path):
    plan = TrainingPlan(
        SETTINGS, toy_data(), Classification(), (HardLabels(),), 0, curriculum=Curriculum(balance="gradient_norm")
    )
    with pytest.raises(TrainingError, match="use uncertainty"):
        fit(conv_net(), plan, folder=tmp_path, device="cpu")


def test_losses_on_layers_find_them_as_without_adapters(tmp_path):
    def matched(settings):
        teacher = CachedTeacher(
            [conv_net(1)], toy_data().train, Classification(), key="1", cache=LogitFolder(tmp_path, None), device="cpu"
        )
        plan = TrainingPlan(settings, toy_data(), Classification(), (Hint(),), 0, teacher)
        return fit(conv_net(), plan, folder=tmp_path / str(settings.lora), device="cpu").matched

    assert matched(SETTINGS) == matched(SETTINGS.model_copy(update={"lora": None}))


def test_without_the_package_the_install_line_is_shown(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'compress\[lora\]'"):
        add_adapters(conv_net(), Lora(), seed=0)


def test_settings():
    assert Lora(rank=4).factor == 8
    assert Lora(rank=4, alpha=1).factor == 1
    for wrong in ({"rank": 0}, {"targets": []}, {"dropout": 1.0}):
        with pytest.raises(ValidationError):
            Lora.model_validate(wrong)
