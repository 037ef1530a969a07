"""What every stage may know of a kind of problem: everything goes through this interface. Light."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from compress.core.errors import ModelError
from compress.core.network_spec import NetworkSpec
from compress.core.record import Metric
from compress.core.signature import TensorSpec
from compress.data.batch import Tensors
from compress.tasks.metric import TaskMetric

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.tasks.output_agreement import OutputAgreement

Capability = Literal["continuous_input", "class_targets", "per_sample_score", "row_per_sample", "image_input"]
"""What a method may ask of a task.

continuous_input   the inputs are real numbers: samples can be mixed, and gradients by the input have a meaning
class_targets      each sample has one class
per_sample_score   the deciding metric is the mean of a score of each sample
row_per_sample     `distillable` gives one row for each sample, in their order, so that a teacher's rows can be cached
image_input        the input is one image (C, H, W), normalised per channel
"""


@dataclass(frozen=True)
class Rows:
    """Answers of a network as rows that losses on answers compare: classes, pixels, tokens, frames, anchors.

    Attributes:
        logits: (R, K).
        targets: Class of each row, int64 (R,), negative where it has none.
        samples: Index in the batch of the sample that each row is of, int64 (R,); None for one row per sample, in order.
    """

    logits: Tensor
    targets: Tensor
    samples: Tensor | None = None

    def of_samples(self, values: Tensor) -> Tensor:
        """Values of the samples, (N,), for each row, (R,)."""
        return values if self.samples is None else values[self.samples]


class Task(ABC):
    """A kind of problem: what its networks give, its loss, its metrics, and what methods may do with it.

    A network of a task takes its inputs in the order of the signature, as positional arguments, and returns a tensor, a tuple
    in the order of the outputs, or a mapping by their names.

    Attributes:
        name: As in the recipe's `task:`.
        metrics: The first one decides.
        capabilities: What methods may ask for.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[TaskMetric, ...]]
    capabilities: ClassVar[frozenset[Capability]]

    @property
    def deciding(self) -> TaskMetric:
        """The metric that budgets, early stopping and the report use."""
        return self.metrics[0]

    @property
    def metric_info(self) -> Metric:
        """Description of the deciding metric."""
        return self.deciding.info

    @property
    def metric(self) -> str:
        """Name of the deciding metric."""
        return self.deciding.info.name

    @abstractmethod
    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:
        """The outputs that a network for these inputs and classes must have."""

    @abstractmethod
    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:
        """Training loss, averaged over the batch, a scalar."""

    @abstractmethod
    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:
        """Rows that losses on answers compare between student and teacher."""

    def forward(self, module: nn.Module, inputs: Tensors) -> Tensors:
        """Run a network; auxiliary outputs that it has in training mode are left out.

        Args:
            module: The network.
            inputs: In the order of the signature.

        Raises:
            ModelError: It returns something else than tensors.
        """
        return name_outputs(module(*inputs.values()), self.output_names)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(spec.name for spec in self.outputs((), ()))

    def agreement(self, reference: Tensors, other: Tensors) -> OutputAgreement:
        """How far two networks agree on the same samples; by default of all float outputs, and of the rows' largest logits.

        Args:
            reference: a, named outputs (N, …).
            other: b, likewise.

        Raises:
            ConversionError: Different shapes, or values that are not finite.
        """
        from compress.tasks.output_agreement import compare_outputs

        name = self.output_names[0]
        return compare_outputs(reference[name].numpy(), other[name].numpy())

    def check_spec(self, spec: NetworkSpec) -> None:  # noqa: B027  # most tasks take whatever the data gives
        """Check that data of this specification fit the task.

        Raises:
            DataError: They do not.
        """


def name_outputs(outputs: object, names: Sequence[str]) -> Tensors:
    """What a network returned, by the names of its outputs; outputs after the named ones are auxiliary and left out.

    Args:
        outputs: A tensor, a sequence in the order of the names, or a mapping.
        names: Names of the outputs.

    Raises:
        ModelError: It is something else, or one is missing.
    """
    from torch import Tensor

    if isinstance(outputs, Tensor):
        outputs = (outputs,)
    if isinstance(outputs, Mapping):
        found = {name: outputs.get(name) for name in names}
    elif isinstance(outputs, (tuple, list)):
        found = dict(zip(names, outputs, strict=False))
    else:
        msg = f"the network returns {type(outputs).__name__}; it must return tensors: {', '.join(names)}"
        raise ModelError(msg)
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if len(tensors) < len(names):
        missing = ", ".join(name for name in names if name not in tensors)
        msg = f"the network returns no tensor for {missing}; it must return, in this order: {', '.join(names)}"
        raise ModelError(msg)
    return tensors
