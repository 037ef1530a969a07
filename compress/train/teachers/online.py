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
from compress.train.curriculum.loss_balancing import GradientNorm, Uncertainty
from compress.train.curriculum.sample_weighting import LearnedTemperature
from compress.train.curriculum.settings import Curriculum
from compress.train.features.hooks import Seen, tapped
from compress.train.features.matched_layers import Clock, Sight
from compress.train.loss_term import LossTerm, live
from compress.train.memory_format import put
from compress.train.teachers.base import Teacher


@dataclass(frozen=True)
class Lesson:
    """What a teacher gives for one batch.

    Attributes:
        logits: Its answers, (N, K); None while it has none.
        seen: What was tapped in each of its networks.
        gradient: ∂ log softmax(z)_c / ∂x with c the teacher's first choice, shaped as the inputs x; None if not asked for.
    """

    logits: Tensor | None = None
    seen: list[Seen] = field(default_factory=list)
    gradient: Tensor | None = None


def lesson(teacher: Teacher, batch: Batch, sight: Sight, clock: Clock, *, gradient: bool) -> Lesson:
    """Run the teacher's networks on a batch.

    Args:
        teacher: Whose networks.
        batch: On the device; its inputs are left as they are.
        sight: What to tap.
        clock: Counts the time.
        gradient: Whether the input gradient is needed.
    """
    if not teacher.ready:
        return Lesson()
    with clock:
        networks = teacher.networks(batch.inputs.device)
        inputs = batch.inputs.detach().requires_grad_(gradient)
        seen: list[Seen] = []
        answers: list[Tensor] = []
        with torch.set_grad_enabled(gradient):
            for number, network in enumerate(networks):
                answer, found = _tapped_pass(network, inputs, sight, number)
                seen.append(found)
                answers.append(answer)
            logits = teacher.combined(answers, batch.targets)
            slope = input_gradient(logits, logits.argmax(dim=1), inputs) if gradient else None
    return Lesson(logits.detach(), seen, slope)


def prepared(
    module: nn.Module,
    terms: Sequence[LossTerm],
    teacher: Teacher | None,
    curriculum: Curriculum,
    *,
    data: Data,
    seed: int,
    device: torch.device,
) -> Sight:
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
        teacher.begin(module, device)
    inputs, networks = torch.empty(0, device=device), list[nn.Module]()
    if any(term.sees for term in terms):
        inputs = next(iter(data.train.ordered(2))).inputs.to(device)
    if teacher is not None and live(terms):
        networks = teacher.networks(device)
        if not networks:
            msg = f"loss {name_of('loss', live(terms)[0])!r} looks into the teacher's network, but this teacher has none"
            raise TrainingError(f"{msg}; use losses on its answers, such as `response`")
    sight = Sight(terms, module, networks, inputs, len(data.train))
    if curriculum.temperature == "learned":
        sight.learned["temperature"] = LearnedTemperature(curriculum.lowest, curriculum.highest)
    if curriculum.balance == "uncertainty":
        sight.learned["balance"] = Uncertainty(len(terms))
    elif curriculum.balance == "gradient_norm":
        sight.learned["balance"] = GradientNorm(len(terms), module, curriculum.restoring)
    put(sight.learned, device)
    return sight


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


def _tapped_pass(network: nn.Module, inputs: Tensor, sight: Sight, number: int) -> tuple[Tensor, Seen]:
    with tapped(network, sight.teacher_taps(number)) as seen:
        answer = network(inputs).float()
    return answer, {tap: tensor.detach() for tap, tensor in seen.items()}
