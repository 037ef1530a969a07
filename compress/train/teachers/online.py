"""The teacher's networks at work in every step, for terms that look into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from compress.core.errors import TrainingError
from compress.core.registry_field import name_of
from compress.data.augment import seed_of
from compress.data.interface import Batch, Data
from compress.train.curriculum.loss_balancing import GradNorm, UncertaintyWeighting
from compress.train.curriculum.sample_weighting import LearnedTemperature
from compress.train.curriculum.settings import Curriculum
from compress.train.features.hooks import Activations, capture
from compress.train.features.matched_layers import FeatureMatcher, TeacherTimer
from compress.train.loss_term import LossTerm, online_terms
from compress.train.memory_format import to_device
from compress.train.teachers.base import Teacher


@dataclass(frozen=True)
class TeacherOutputs:
    """What a teacher gives for one batch.

    Attributes:
        logits: (N, K), combined over its networks; None while it has none.
        activations: Of the hooked layers, one dictionary for each network.
        input_gradient: ∂ log softmax(z)_c / ∂x, c the teacher's predicted class, shaped as the inputs x; None unless requested.
    """

    logits: Tensor | None = None
    activations: list[Activations] = field(default_factory=list)
    input_gradient: Tensor | None = None


def run_teacher(
    teacher: Teacher, batch: Batch, matcher: FeatureMatcher, clock: TeacherTimer, *, gradient: bool
) -> TeacherOutputs:
    """Run the teacher's networks on a batch.

    Args:
        teacher: Whose networks.
        batch: On the device; its inputs are left as they are.
        matcher: What to tap.
        clock: Counts the time.
        gradient: Whether the input gradient is needed.
    """
    if not teacher.ready:
        return TeacherOutputs()
    with clock:
        networks = teacher.networks(batch.inputs.device)
        inputs = batch.inputs.detach().requires_grad_(gradient)
        seen: list[Activations] = []
        answers: list[Tensor] = []
        with torch.set_grad_enabled(gradient):
            for number, network in enumerate(networks):
                answer, found = _tapped_pass(network, inputs, matcher, number)
                seen.append(found)
                answers.append(answer)
            logits = teacher.combine(answers, batch.targets)
            slope = input_gradient(logits, logits.argmax(dim=1), inputs) if gradient else None
    return TeacherOutputs(logits.detach(), seen, slope)


def build_feature_matcher(
    module: nn.Module,
    terms: Sequence[LossTerm],
    teacher: Teacher | None,
    curriculum: Curriculum,
    *,
    data: Data,
    seed: int,
    device: torch.device,
) -> FeatureMatcher:
    """What terms see, before the first step; the modules that they learn start from the seed.

    Args:
        module: The student, on its device.
        terms: All terms with a weight.
        teacher: Whom they imitate; it is told that the training begins.
        curriculum: May learn a temperature and weights.
        data: Two samples of it are run through the networks to see what their layers give.
        seed: Of the training.
        device: Of the training.

    Raises:
        TrainingError: A term looks into the teacher's network, and this teacher has none.
        ModelError: A layer that a term names does not exist or cannot be joined.
    """
    torch.manual_seed(seed_of("learned", seed))
    if teacher is not None:
        teacher.before_training(module, device)
    inputs, networks = torch.empty(0, device=device), list[nn.Module]()
    if any(term.feature_kind for term in terms):
        inputs = next(iter(data.train.ordered(2))).inputs.to(device)
    if teacher is not None and online_terms(terms):
        networks = teacher.networks(device)
        if not networks:
            msg = (
                f"loss {name_of('loss', online_terms(terms)[0])!r} looks into the teacher's network, but this teacher has none"
            )
            raise TrainingError(f"{msg}; use losses on its answers, such as `response`")
    matcher = FeatureMatcher(terms, module, networks, inputs, len(data.train))
    if curriculum.temperature == "learned":
        matcher.loss_modules["temperature"] = LearnedTemperature(curriculum.lowest, curriculum.highest)
    if curriculum.balance == "uncertainty":
        matcher.loss_modules["balance"] = UncertaintyWeighting(len(terms))
    elif curriculum.balance == "gradient_norm":
        matcher.loss_modules["balance"] = GradNorm(len(terms), module, curriculum.restoring)
    to_device(matcher.loss_modules, device)
    return matcher


def input_gradient(z: Tensor, c: Tensor, x: Tensor, *, keep_graph: bool = False) -> Tensor:
    """∂ Σ_n log softmax(z_n)_{c_n} / ∂x.

    Args:
        z: Logits, (N, K), computed from x.
        c: Classes, int64 (N,).
        x: Inputs that carry a gradient.
        keep_graph: Whether the result is itself to be differentiated.
    """
    chosen = z.log_softmax(dim=1).gather(1, c.unsqueeze(1)).sum()
    return torch.autograd.grad(chosen, x, create_graph=keep_graph)[0]


def _tapped_pass(network: nn.Module, inputs: Tensor, matcher: FeatureMatcher, number: int) -> tuple[Tensor, Activations]:
    with capture(network, matcher.teacher_hooks(number)) as seen:
        answer = network(inputs).float()
    return answer, {tap: tensor.detach() for tap, tensor in seen.items()}
