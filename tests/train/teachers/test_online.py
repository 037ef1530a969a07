import pytest
import torch

from compress.distill.losses.features import Hint
from compress.distill.losses.hard_labels import HardLabels
from compress.distill.losses.jacobian import Jacobian
from compress.distill.losses.response import Response
from compress.tasks.classification import Classification
from compress.train.curriculum.loss_balancing import GradNorm, UncertaintyWeighting
from compress.train.curriculum.sample_weighting import LearnedTemperature
from compress.train.curriculum.settings import Curriculum
from compress.train.plan import TrainingPlan
from compress.train.teachers.base import Teacher
from compress.train.teachers.online import TeacherOutputs, TeacherTimer, build_feature_matcher, input_gradient, run_teacher
from tests.train.features.networks import staged
from tests.train.toy_training import SETTINGS, toy_data

CPU = torch.device("cpu")


class Networks(Teacher):
    key = "networks"

    def __init__(self, *networks):
        self.own = list(networks)

    def networks(self, device):  # noqa: ARG002
        return self.own


def plan(*terms, teacher=None, **curriculum):
    return TrainingPlan(SETTINGS, toy_data(), Classification(), terms, 3, teacher, Curriculum(**curriculum))


def batch():
    return next(iter(toy_data().train.ordered(5)))


def test_the_gradient_of_the_class_is_that_of_finite_differences():
    weight = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    classes = torch.tensor([2, 0])

    def log_p(x, n):
        return float((x[n] @ weight).tanh().log_softmax(0)[classes[n]])

    result = input_gradient((x @ weight).tanh(), classes, x)
    for n in range(2):
        for k in range(4):
            shift = torch.zeros(2, 4, dtype=torch.float64)
            shift[n, k] = 1e-6
            expected = (log_p(x.detach() + shift, n) - log_p(x.detach() - shift, n)) / 2e-6
            assert float(result[n, k]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gradient", [False, True])
def test_a_pass_gives_mean_logits_features_of_each_network_and_the_gradient_of_the_predicted_class(gradient):
    networks = staged(1), staged(2)
    teacher, timer, inputs = Networks(*networks), TeacherTimer(CPU), batch()
    matcher = build_feature_matcher(staged(), plan(Hint(), teacher=teacher), CPU)
    outputs = run_teacher(teacher, inputs, Classification(), matcher, timer, gradient=gradient)
    x = inputs.input.clone().requires_grad_()
    mean = (networks[0](x) + networks[1](x)) / 2
    torch.testing.assert_close(outputs.logits, mean.detach())
    for network, activations in zip(networks, outputs.activations, strict=True):
        first = {hook.name: tensor for hook, tensor in activations.items()}["stage0"]
        torch.testing.assert_close(first, network.stage0(inputs.input).detach())
        assert not first.requires_grad
    if gradient:
        score = mean.log_softmax(1).max(1).values.sum()
        torch.testing.assert_close(outputs.input_gradient, torch.autograd.grad(score, x)[0])
    else:
        assert outputs.input_gradient is None
    assert not inputs.input.requires_grad
    assert timer.seconds > 0


def test_a_teacher_that_is_not_ready_is_not_run():
    teacher, timer = Networks(), TeacherTimer(CPU)
    teacher.ready = False
    matcher = build_feature_matcher(staged(), plan(HardLabels(), teacher=teacher), CPU)
    assert run_teacher(teacher, batch(), Classification(), matcher, timer, gradient=False) == TeacherOutputs()
    assert timer.seconds == 0


def test_modules_that_losses_train_depend_on_the_seed_alone():
    def weights(draws):
        torch.rand(draws)
        teacher = Networks(staged(1, (8, 8)))
        with torch.random.fork_rng(devices=[]):
            return build_feature_matcher(staged(), plan(Hint(), teacher=teacher), CPU).loss_modules.state_dict()

    first, second = weights(1), weights(5)
    assert first
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize(
    ("curriculum", "name", "kind"),
    [
        ({"temperature": "learned"}, "temperature", LearnedTemperature),
        ({"balance": "uncertainty"}, "balance", UncertaintyWeighting),
        ({"balance": "gradient_norm"}, "balance", GradNorm),
    ],
)
def test_a_curriculum_adds_what_it_trains(curriculum, name, kind):
    with torch.random.fork_rng(devices=[]):
        matcher = build_feature_matcher(staged(), plan(HardLabels(), Response(), teacher=Networks(), **curriculum), CPU)
    assert isinstance(matcher.loss_modules[name], kind)


def test_an_input_gradient_alone_runs_no_sample_to_find_layers():
    matcher = build_feature_matcher(staged(), plan(Jacobian(), teacher=Networks(staged(1))), CPU)
    assert matcher.matched == {}
