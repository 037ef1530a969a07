"""Teachers with experts that teach with more experts than their router chooses.

Kim et al. 2025, "Every Expert Matters", arXiv:2502.12947: experts that the router leaves out know things that help a student.
The loss of the student-aware router is this package's, see `AllExperts`; so is the draw of experts, see `expert_weights`.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.core.entries import State, mapping
from compress.core.environment import world_size
from compress.data.batch import Batch
from compress.distill.losses.response import kl_divergence
from compress.models.text.experts import Routing, mixtures
from compress.tasks.base import Rows, Task
from compress.train.checkpoints import network_hash
from compress.train.memory_format import to_device
from compress.train.teachers.base import Teacher
from compress.train.teachers.rows import distillable_rows, rows_of


class SampledExperts(Teacher):
    """Knowledge augmentation: each pass draws the experts of every token anew.

    Args:
        network: The teacher; not changed.
        task: Runs the network.
        passes: Number of passes for each batch.
    """

    def __init__(self, network: nn.Module, task: Task, passes: int) -> None:
        self.key = f"{network_hash(network)}-sampled-{passes}"
        self.task, self.count = task, passes
        self._network = with_routing(network, "sampled")

    def before_training(self, student: nn.Module, device: torch.device) -> None:  # noqa: ARG002
        """Move the network."""
        to_device(self._network, device)

    def networks(self, device: torch.device) -> list[nn.Module]:
        """The network, whose passes differ."""
        return [to_device(self._network, device)]

    @torch.no_grad()
    def logits(self, batch: Batch) -> Tensor:
        """Rows of one pass."""
        return distillable_rows(self._network, batch, self.task)

    def further_logits(self, batch: Batch) -> tuple[Tensor, ...]:
        """Rows of the other passes."""
        return tuple(self.logits(batch) for _ in range(self.count - 1))


class AllExperts(Teacher):
    """Student-aware router: all experts with the weights g = softmax(router), which follow the student.

    After each batch the router alone takes a step of Adam on

        L = KL(p_T ‖ p_S) + γ CE(y, p_T)

    with p_S held constant. The first term prefers experts that the student can follow, the second those that are right.

    Args:
        network: The teacher; not changed.
        task: Runs the network.
        lr: Learning rate of the router.
        task_weight: γ.
    """

    def __init__(self, network: nn.Module, task: Task, lr: float, task_weight: float) -> None:
        self.key = f"{network_hash(network)}-all-{lr}-{task_weight}"
        self.task, self.task_weight = task, task_weight
        self._network = with_routing(network, "all")
        routers = [mixture.gate for mixture in mixtures(self._network).values()]
        self._weights = [weight for router in routers for weight in router.parameters()]
        for weight in self._weights:
            weight.requires_grad_(True)
        self._first = [weight.detach().clone() for weight in self._weights]
        self._lr = lr
        self._optimizer = torch.optim.Adam(self._weights, lr)
        self._rows: Rows | None = None

    def before_training(self, student: nn.Module, device: torch.device) -> None:  # noqa: ARG002
        """Begin with the router of the teacher."""
        to_device(self._network, device)
        with torch.no_grad():
            for weight, first in zip(self._weights, self._first, strict=True):
                weight.copy_(first)
        self._optimizer = torch.optim.Adam(self._weights, self._lr)

    def networks(self, device: torch.device) -> list[nn.Module]:
        """The network with all its experts."""
        return [to_device(self._network, device)]

    def logits(self, batch: Batch) -> Tensor:
        """Rows of the teacher with its present router."""
        with torch.enable_grad():
            self._rows = rows_of(self._network, batch, self.task)
        return self._rows.logits.detach().float()

    def after_batch(self, batch: Batch, student_logits: Tensor) -> None:  # noqa: ARG002
        """Train the router."""
        rows, self._rows = self._rows, None
        if rows is None or not len(rows.logits):
            return
        loss = router_loss(rows.logits.float(), student_logits.float(), rows.targets, self.task_weight)
        self._optimizer.zero_grad()
        gradients = torch.autograd.grad(loss, self._weights)
        for weight, gradient in zip(self._weights, gradients, strict=True):
            if world_size() > 1 and torch.distributed.is_initialized():
                torch.distributed.all_reduce(gradient)
                gradient /= world_size()
            weight.grad = gradient
        self._optimizer.step()

    def state_dict(self) -> State:
        """The router and its optimizer."""
        return {
            "router": {str(index): weight.detach() for index, weight in enumerate(self._weights)},
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: State) -> None:
        """Restore both."""
        saved = mapping(state, "router")
        with torch.no_grad():
            for index, weight in enumerate(self._weights):
                tensor = saved[str(index)]
                assert isinstance(tensor, Tensor)  # noqa: S101  # so `state_dict` has it
                weight.copy_(tensor)
        self._optimizer.load_state_dict(dict(mapping(state, "optimizer")))


def router_loss(z_t: Tensor, z_s: Tensor, y: Tensor, gamma: float) -> Tensor:
    """KL(p_T ‖ p_S) + γ CE(y, p_T), a scalar; rows without a class have no second term.

    Args:
        z_t: Logits of the teacher, (R, K), with gradient.
        z_s: Logits of the student, (R, K).
        y: Class of each row, int64 (R,), negative for none.
        gamma: γ.
    """
    divergence = kl_divergence(z_t.log_softmax(dim=1), z_s.detach().log_softmax(dim=1)).mean()
    labelled = y >= 0
    if not gamma or not bool(labelled.any()):
        return divergence
    return divergence + gamma * F.cross_entropy(z_t[labelled], y[labelled])


def with_routing(network: nn.Module, routing: Routing) -> nn.Module:
    """A copy in eval mode without gradients, whose mixtures choose experts in another way."""
    changed = copy.deepcopy(network).eval().requires_grad_(False)
    for mixture in mixtures(changed).values():
        mixture.routing = routing
    return changed
