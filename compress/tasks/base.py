"""Interface of a task for all stages. Imports no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel

from compress.core.errors import DataError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.record import Metric
from compress.core.signature import TensorSpec
from compress.data.batch import Batch, Split, Tensors
from compress.tasks.capability import Capability
from compress.tasks.further_results import FurtherResults
from compress.tasks.infer_code import OUTPUTS, InferCode
from compress.tasks.metric import Scores, TaskMetric
from compress.tasks.output_names import name_outputs
from compress.tasks.text.generated_text import GeneratedText

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.tasks.calibration_samples import Sample
    from compress.tasks.output_agreement import OutputAgreement
    from compress.tasks.postprocessing import Postprocessing


@dataclass(frozen=True)
class Rows:
    """Outputs of a network as rows for losses on logits: samples, pixels, tokens, frames or anchors.

    Attributes:
        logits: (R, K).
        targets: Class of each row, int64 (R,), negative where it has none.
        samples: Index in the batch of the sample that each row is of, int64 (R,); None for one row per sample, in order.
    """

    logits: Tensor
    targets: Tensor
    samples: Tensor | None = None


class NoOptions(FrozenModel):
    """A task without options."""


class Task(ABC):
    """A task: outputs of its networks, loss, metrics and capabilities.

    A network of a task receives its inputs in the order of the signature, as positional arguments, and returns a tensor, a
    tuple in the order of the outputs, or a mapping by their names.

    Attributes:
        name: Name in `task:` of a recipe.
        metrics: The metrics; the first one is the deciding metric.
        capabilities: Capabilities for methods.
        settings: Model of its options, which a recipe writes as `task: {NAME: {OPTION: VALUE}}`. Each is an argument of its
            constructor and an attribute, of the same name.
        infer_code: Code for the outputs in `infer.py` of the artifact.
        stream_code: Code for the outputs of chunks of audio in `stream.py`, a class `Teller` with `tell(logits)`, the text
            after a chunk, and `end()`; None for tasks whose networks run on whole samples.
        generated: Which texts the network writes for metrics of written texts; None for a task that writes none.
    """

    name: ClassVar[str]
    settings: ClassVar[type[BaseModel]] = NoOptions
    metrics: ClassVar[tuple[TaskMetric, ...]]
    capabilities: ClassVar[frozenset[Capability]]
    infer_code: ClassVar[InferCode] = OUTPUTS
    stream_code: ClassVar[InferCode | None] = None
    generated: GeneratedText | None = None

    @classmethod
    def infer_codes(cls) -> tuple[InferCode, ...]:
        """The code of `infer.py` for all options."""
        return (cls.infer_code,)

    @property
    def deciding(self) -> TaskMetric:
        """The deciding metric, for budgets, early stopping and the report."""
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
        """The required outputs of a network for these inputs and classes."""

    def targets(self, classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002  # for subclasses
        """The required targets of the data; empty if the loss of the task checks them.

        Integers may have any integer type, real numbers any float type.
        """
        return ()

    @abstractmethod
    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:
        """Training loss, averaged over the batch, a scalar."""

    @abstractmethod
    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:
        """Rows of student and teacher for losses on logits."""

    def forward(self, module: nn.Module, inputs: Tensors) -> Tensors:
        """Run a network; auxiliary outputs in training mode are not returned.

        Args:
            module: The network.
            inputs: Inputs in the order of the signature.

        Raises:
            ModelError: The network does not return tensors.
        """
        return self.name_outputs(module(*inputs.values()))

    def training_forward(self, module: nn.Module, inputs: Tensors, targets: Tensors) -> Tensors:  # noqa: ARG002
        """Run a network whose loss follows; by default as `forward` does.

        Args:
            module: The network.
            inputs: Inputs in the order of the signature.
            targets: Targets, for networks that choose by them what the loss is computed from.

        Raises:
            ModelError: The network does not return tensors.
        """
        return self.forward(module, inputs)

    def teacher_targets(self, outputs: Tensors, targets: Tensors) -> Tensors:  # noqa: ARG002
        """The targets for a teacher; by default those of the student.

        Args:
            outputs: Of the student in training, for teachers that judge what it chose.
            targets: Of the batch.
        """
        return targets

    def name_outputs(self, outputs: object) -> Tensors:
        """Outputs of a network or a file by name; arguments and errors as for the function of this name."""
        return name_outputs(outputs, self.output_names)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(spec.name for spec in self.outputs((), ()))

    def run_batch(self, run: Callable[[Batch], Tensors], batch: Batch) -> Tensors:
        """Outputs of a batch in an evaluation; by default those of its inputs.

        Args:
            run: Runs the network, a module or a file, on the inputs of a batch.
            batch: The batch; a task of pairs runs both inputs of each sample.
        """
        return run(batch)

    def complete_outputs(self, outputs: Tensors, inputs: Tensors) -> Tensors:  # noqa: ARG002
        """The outputs with what metrics must know of the inputs, such as the size of images; by default as they are.

        Args:
            outputs: By name, (N, …).
            inputs: By name, of the same samples.
        """
        return outputs

    def scores(self, outputs: Tensors, targets: Tensors, metrics: Sequence[TaskMetric]) -> dict[str, Tensor]:
        """Statistics of each sample by some of the task's metrics, by the name of the metric; see `TaskMetric.scores`."""
        return {metric.info.name: metric.scores(outputs, targets) for metric in metrics}

    @property
    def postprocessing(self) -> Postprocessing | None:
        """What follows a network before its results are of use; None where nothing does."""
        return None

    def agreement(self, reference: Tensors, other: Tensors) -> OutputAgreement:
        """How far two networks agree on the same samples; by default in the first output, and in its largest logit of classes.

        Args:
            reference: a, named outputs (N, …).
            other: b, named outputs (N, …) of the same samples.

        Raises:
            ConversionError: The shapes differ, or values are not finite.
        """
        from compress.tasks.output_agreement import compare_outputs

        name = self.output_names[0]
        agreement = compare_outputs(reference[name].numpy(), other[name].numpy())
        return agreement if "class_rows" in self.capabilities else agreement.without_classes()

    @property
    def key(self) -> str | dict[str, object]:
        """Identity as JSON: its name, with its options if it has any, and with a hash of user code."""
        from compress.core.object_fingerprint import fingerprint_object, is_library

        options = dict(self.options)
        if not is_library(type(self).__module__):
            options["code"] = fingerprint_object(self).sha256
        return {self.name: options} if options else self.name

    @property
    def options(self) -> Mapping[str, object]:
        """Its options that are not the defaults, as JSON: what distinguishes two tasks of one class."""
        chosen = {name: getattr(self, name) for name in self.settings.model_fields}
        return self.settings.model_validate(chosen).model_dump(mode="json", exclude_defaults=True)

    def for_spec(self, spec: NetworkSpec) -> Task:  # noqa: ARG002  # for subclasses
        """The task as it is on data of this specification, where it depends on their classes.

        Raises:
            DataError: They do not fit.
        """
        return self

    def capabilities_for(self, spec: NetworkSpec) -> frozenset[Capability]:
        """The capabilities for data of this specification, without those that the inputs do not allow."""
        absent: set[Capability] = set()
        only = spec.signature.inputs[0] if len(spec.signature.inputs) == 1 else None
        if only is None or not only.is_continuous:
            absent |= {"continuous_input", "image_input"}
        elif not spec.takes_images or len(only.shape) != 4:
            absent.add("image_input")
        return self.capabilities - absent

    def complete_spec(self, spec: NetworkSpec) -> NetworkSpec:
        """The specification, with the outputs of the task if the data source does not define them.

        Raises:
            DataError: The data are for another task.
        """
        expected = self.outputs(spec.signature.inputs, spec.classes)
        if not spec.signature.outputs:
            spec = spec.model_copy(update={"signature": spec.signature.model_copy(update={"outputs": expected})})
        own = spec.signature.outputs
        if [(output.name, len(output.shape)) for output in own] != [(each.name, len(each.shape)) for each in expected]:
            kinds = [", ".join(map(str, outputs)) or "nothing" for outputs in (expected, own)]
            msg = gettext(
                "task {name} is for networks that give {kinds}; these data are for networks that give {data_kinds}: "
                "choose the task that fits the data, or other data",
                name=self.name,
                kinds=kinds[0],
                data_kinds=kinds[1],
            )
            raise DataError(msg)
        self.check_spec(spec)
        return spec

    def calibration(self, split: Split, samples: int, seed: int, *, classes: int = 0) -> list[Sample]:  # noqa: ARG002
        """Calibration samples, by default a seeded random choice.

        Args:
            split: Training samples.
            samples: Largest number of samples.
            seed: Seed of the choice.
            classes: Number of classes of the data.

        Raises:
            ConversionError: The split is empty.
        """
        from compress.tasks.calibration_samples import spread_samples

        return spread_samples(split, samples, seed)

    def chance_level(self, classes: Sequence[str], statistics: Mapping[str, Scores]) -> float | None:  # noqa: ARG002
        """Value of the deciding metric that answers without knowledge of the input reach; None where none is known.

        Args:
            classes: Class names.
            statistics: Of the task's metrics on the split that is judged, by name, for levels that depend on its targets;
                any may be missing.
        """
        return None

    def further_results(
        self,
        statistics: Mapping[str, Scores],  # noqa: ARG002  # for subclasses
        classes: Sequence[str],  # noqa: ARG002
        where: str,  # noqa: ARG002
    ) -> FurtherResults:
        """What the test split shows beside the metrics, such as each column of a regression; by default nothing.

        Args:
            statistics: Of the task's metrics on the test split, by name; any that has no value may be missing.
            classes: Class names.
            where: What was measured on what.
        """
        return FurtherResults()

    def check_spec(self, spec: NetworkSpec) -> None:  # noqa: B027  # most tasks take whatever the data gives
        """Check that data of this specification fit the task.

        Raises:
            DataError: They do not fit.
        """

    def check_batch(self, batch: Batch, spec: NetworkSpec) -> None:
        """Check that the targets of a batch are those of the task.

        Raises:
            DataError: Their names, types or shapes differ.
        """
        expected = self.targets(spec.classes)
        misfits = [target for target in expected if not _fits(target, batch)]
        if misfits:
            given = ", ".join(
                f"{name}: {str(y.dtype).removeprefix('torch.')} {tuple(y.shape)}" for name, y in batch.targets.items()
            )
            other_types = [target for target in misfits if _has_shape(target, batch)]
            advice = gettext("choose the task that fits the data, or other data")
            if len(other_types) == len(misfits):
                advice = gettext(
                    "convert {other_types}",
                    other_types=", ".join(
                        gettext("{name} to {dtype}", name=target.name, dtype=target.dtype) for target in other_types
                    ),
                )
            msg = gettext(
                "task {name} needs targets {expected}; the data give {given} for {size} samples: {advice}",
                name=self.name,
                expected=", ".join(map(str, expected)),
                given=given or "none",
                size=batch.size,
                advice=advice,
            )
            raise DataError(msg)


def _fits(target: TensorSpec, batch: Batch) -> bool:
    return _has_shape(target, batch) and batch.targets[target.name].is_floating_point() == target.is_continuous


def _has_shape(target: TensorSpec, batch: Batch) -> bool:
    values = batch.targets.get(target.name)
    return values is not None and target.fits(tuple(values.shape), batch.size)
