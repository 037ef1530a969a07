"""Forward passes of the teacher in every step, for losses on features or input gradients and for mixed images."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from compress.core.errors import TrainingError
from compress.core.language import gettext
from compress.core.registry_field import name_of
from compress.core.seed_of import seed_of
from compress.data.batch import Batch
from compress.tasks.base import Task
from compress.train.curriculum.loss_balancing import GradNorm, UncertaintyWeighting
from compress.train.curriculum.sample_weighting import LearnedTemperature
from compress.train.features.hooks import Activations, capture
from compress.train.features.matched_layers import FeatureMatcher
from compress.train.loss_term import online_terms
from compress.train.memory_format import to_device
from compress.train.plan import TrainingPlan
from compress.train.teachers.base import Teacher
from compress.train.teachers.rows import distillable_rows

SEARCH_SAMPLES = 64
"""Number of validation samples for `layers: searched`."""


@dataclass(frozen=True)
class TeacherOutputs:
    """Outputs of a teacher for one batch.

    Attributes:
        logits: Combined logits of its networks, (N, K); None if it has none yet.
        activations: Activations of the hooked layers, one dictionary for each network.
        further: Logits of further passes of the teacher, (N, K) each, over which losses are averaged.
        shared: Its `shared_classes`.
        input_gradient: ∂ log softmax(z)_c / ∂x for the predicted class c, with the shape of x; None unless requested.
    """

    logits: Tensor | None = None
    activations: list[Activations] = field(default_factory=list)
    input_gradient: Tensor | None = None
    further: tuple[Tensor, ...] = ()
    shared: tuple[Tensor, Tensor] | None = None


class TeacherTimer:
    """Sums the seconds in which teachers run.

    Attributes:
        seconds: The sum so far.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds, self._start = device, 0.0, 0.0

    def __enter__(self) -> None:
        self._synchronize()
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._synchronize()
        self.seconds += time.perf_counter() - self._start

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def run_teacher(
    teacher: Teacher, batch: Batch, task: Task, matcher: FeatureMatcher, timer: TeacherTimer, *, gradient: bool
) -> TeacherOutputs:
    """Run the networks of a teacher on a batch.

    Args:
        teacher: The teacher.
        batch: Batch on the device; not changed.
        task: Task that runs the networks and selects rows.
        matcher: Layers to hook.
        timer: Adds the time.
        gradient: Whether the input gradient is needed.
    """
    if not teacher.ready:
        return TeacherOutputs()
    with timer:
        inputs = _detached(batch, gradient=gradient)
        activations: list[Activations] = []
        outputs: list[Tensor] = []
        with torch.set_grad_enabled(gradient):
            for index, network in enumerate(teacher.networks(batch.device)):
                with capture(network, matcher.teacher_hooks(index)) as tensors:
                    outputs.append(distillable_rows(network, batch._replace(inputs=inputs), task))
                activations.append({hook: tensor.detach() for hook, tensor in tensors.items()})
            logits = teacher.combine(outputs, batch.targets)
            teacher_gradient = input_gradient(logits, logits.argmax(dim=1), *inputs.values()) if gradient else None
    return TeacherOutputs(logits.detach(), activations, teacher_gradient)


def _detached(batch: Batch, *, gradient: bool) -> dict[str, Tensor]:
    """The inputs, detached; floats require a gradient if `gradient`."""
    return {
        name: values.detach().requires_grad_(gradient and values.is_floating_point()) for name, values in batch.inputs.items()
    }


def build_feature_matcher(module: nn.Module, plan: TrainingPlan, device: torch.device) -> FeatureMatcher:
    """Match layers and build the loss modules, before the first step; their initial weights depend on the seed.

    Args:
        module: The student, on its device.
        plan: Terms, teacher and data; two samples run through the networks to find the shapes of the layers. Calls
            `before_training` of the teacher.
        device: Device of the training.

    Raises:
        TrainingError: A term compares features, and this teacher has no network.
        ModelError: A layer that a term names does not exist or cannot be matched.
    """
    terms, teacher, curriculum, data = plan.active_terms, plan.teacher, plan.curriculum, plan.data
    torch.manual_seed(seed_of("learned", plan.seed))
    if teacher is not None:
        teacher.before_training(module, device)
    inputs, networks = tuple[Tensor, ...](), list[nn.Module]()
    if any(term.feature_kind for term in terms):
        inputs = tuple(next(iter(data.train.ordered(2))).to(device).inputs.values())
    if teacher is not None and (online := online_terms(terms)):
        networks = teacher.networks(device)
        if not networks:
            msg = gettext(
                "loss {name_of!r} needs the teacher's network, but this teacher has none", name_of=name_of("loss", online[0])
            )
            raise TrainingError(gettext("{msg}; use losses on logits, such as `response`", msg=msg))
    search = None
    if any(getattr(term, "layers", None) == "searched" for term in terms):
        search = next(iter(data.validation.ordered(SEARCH_SAMPLES))).to(device).inputs
    matcher = FeatureMatcher(terms, module, networks, inputs, len(data.train), search)
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
        x: Inputs that require gradients.
        keep_graph: Whether the result can be differentiated.

    Returns:
        Gradient of the shape of x.
    """
    log_p = z.log_softmax(dim=1).gather(1, c.unsqueeze(1)).sum()
    return torch.autograd.grad(log_p, x, create_graph=keep_graph)[0]
