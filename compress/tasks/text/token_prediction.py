"""Base class of tasks that predict tokens: logits over the vocabulary at places of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.network_spec import LOGITS, NetworkSpec
from compress.core.signature import BATCH, SEQUENCE, TensorSpec
from compress.data.batch import TARGET, Split, Tensors
from compress.tasks.base import Rows, Task
from compress.tasks.calibration_samples import Sample
from compress.tasks.capability import Capability
from compress.tasks.metric import Scores

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.tasks.output_agreement import OutputAgreement

VOCABULARY = "vocabulary"
POSITIONS = "positions"
"""Name of the argument of a network that computes the logits of some tokens alone."""


class TokenPrediction(Task):
    """A token at some places of a text; outputs are logits (N, L, V) over the vocabulary, targets tokens (N, L).

    A target is `UNLABELLED` where no token is predicted. In training, a network with an argument `positions`, (M, 2) int64 of
    sample and place, computes the logits at these places alone, (M, V).

    Attributes:
        capabilities: A sample has many rows; its targets come from the text.
        vocabulary: V; None until `for_spec` has taken it from the data.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(("class_rows", "fixed_rows", "self_supervised"))
    vocabulary: int | None = None

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Logits, (batch, sequence, V); V is that of the tokens of the input."""
        length = inputs[0].shape[1] if inputs else SEQUENCE
        values = inputs[0].values if inputs else None
        size: int | str = VOCABULARY if values is None else values[1] + 1
        return (TensorSpec(name=LOGITS, shape=(BATCH, length, size)),)

    def targets(self, classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Token at each place, (batch, sequence)."""
        return (TensorSpec(name=TARGET, dtype="int64", shape=(BATCH, SEQUENCE)),)

    def check_spec(self, spec: NetworkSpec) -> None:
        """Check that the inputs are tokens.

        Raises:
            DataError: They are not.
        """
        first = spec.signature.inputs[0]
        if first.is_continuous or len(first.shape) != 2:
            msg = gettext(
                "{name} needs tokens, int64 (batch, sequence), as the first input; it is {first}", name=self.name, first=first
            )
            raise DataError(msg)

    def training_forward(self, module: nn.Module, inputs: Tensors, targets: Tensors) -> Tensors:
        """Run a network; logits of the predicted tokens alone, (M, V), where it can compute these."""
        if not takes_positions(module):
            return self.forward(module, inputs)
        return self.name_outputs(module(*inputs.values(), **{POSITIONS: (targets[TARGET] >= 0).nonzero()}))

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy, averaged over the predicted tokens of the batch; 0 if there is none.

            L = −mean_t Σ_v q_v log softmax(z_t)_v,   q = (1 − ε)·onehot(y_t) + ε / V

        Args:
            outputs: Logits z, (N, L, V) or (M, V).
            targets: Tokens y, int64 (N, L).
            label_smoothing: ε in [0, 1).

        Returns:
            Scalar, at least 0.
        """
        from torch.nn import functional as F

        y = targets[TARGET]
        _, z = predicted_logits(outputs, targets)
        return F.cross_entropy(z, y[y >= 0], label_smoothing=label_smoothing) if len(z) else outputs[LOGITS].sum() * 0.0

    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:
        """The logits of the predicted tokens."""
        y = targets[TARGET]
        sample, z = predicted_logits(outputs, targets)
        return Rows(z, y[y >= 0], sample)

    def agreement(self, reference: Tensors, other: Tensors) -> OutputAgreement:
        """Differences of the logits, and the fraction of tokens with the same largest logit."""
        from compress.tasks.output_agreement import compare_outputs

        return compare_outputs(*(outputs[LOGITS].movedim(2, 1).numpy() for outputs in (reference, other)))

    def calibration(self, split: Split, samples: int, seed: int, *, classes: int = 0) -> list[Sample]:  # noqa: ARG002
        """Samples of all lengths; arguments as for `Task.calibration`."""
        from compress.tasks.text.samples_by_length import samples_by_length

        return samples_by_length(split, samples, seed)

    def for_spec(self, spec: NetworkSpec) -> Self:
        """The task with the size of the vocabulary."""
        import copy

        bound = copy.copy(self)
        size = self.outputs(spec.signature.inputs, ())[0].shape[2]
        bound.vocabulary = size if isinstance(size, int) else None
        return bound

    def chance_level(self, classes: Sequence[str], statistics: Mapping[str, Scores]) -> float | None:  # noqa: ARG002
        """V, the perplexity of equal probabilities of all tokens; None where the vocabulary is not known."""
        return None if self.vocabulary is None else float(self.vocabulary)


def predicted_logits(outputs: Tensors, targets: Tensors) -> tuple[Tensor, Tensor]:
    """Sample and logits of each predicted token, (M,) and (M, V).

    Args:
        outputs: Logits of all tokens, (N, L, V), or of the predicted ones alone, (M, V).
        targets: Token at each place, int64 (N, L), negative where none is predicted.
    """
    z, known = outputs[LOGITS], targets[TARGET] >= 0
    sample = known.nonzero(as_tuple=True)[0]
    return sample, z if z.ndim == 2 else z[known]


def takes_positions(module: nn.Module) -> bool:
    """Whether a network computes the logits of some tokens alone; a data-parallel wrapper does as its network."""
    import inspect

    inner = getattr(module, "module", module)
    return POSITIONS in inspect.signature(inner.forward).parameters
