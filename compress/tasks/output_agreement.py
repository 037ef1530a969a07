"""Agreement of two outputs for the same inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.core.record import Quantity


@dataclass(frozen=True)
class OutputAgreement:
    """Agreement of two sets of outputs.

    Attributes:
        max_abs: max |a − b|, in units of the outputs.
        mean_abs: mean |a − b|, in units of the outputs.
        cosine: Smallest cosine similarity of the outputs of a sample, in [−1, 1].
        top1: Fraction of samples with the same answer, such as the same highest output; None where answers are no classes.
        scale: max |a|, the scale for the differences.
        samples: Number of samples.
        signal: Σ a².
        noise: Σ (a − b)².
    """

    max_abs: float
    mean_abs: float
    cosine: float
    top1: float | None
    scale: float
    samples: int
    signal: float
    noise: float

    @property
    def relative_error(self) -> float:
        """√(Σ (a − b)² / Σ a²); infinite if a is 0 everywhere and b is not."""
        if self.noise == 0:
            return 0.0
        return math.sqrt(self.noise / self.signal) if self.signal else math.inf

    def quantities(self, detail: str) -> dict[str, Quantity]:
        """Quantities for the record."""
        unit = "1" if self.top1 is None else "logit"
        quantities = {
            "parity_max_abs": Quantity.measured(self.max_abs, unit, detail, runs=self.samples),
            "parity_mean_abs": Quantity.measured(self.mean_abs, unit, detail, runs=self.samples),
            "parity_cosine": Quantity.measured(self.cosine, "1", detail, runs=self.samples),
        }
        if self.top1 is not None:
            quantities["parity_top1"] = Quantity.measured(self.top1, "fraction", detail, runs=self.samples)
        return quantities

    def without_classes(self) -> OutputAgreement:
        """The same for outputs that are no logits of classes."""
        return replace(self, top1=None)


def compare_outputs(reference: np.ndarray, other: np.ndarray) -> OutputAgreement:
    """Compare outputs sample by sample.

    Args:
        reference: a, (N, K) or (N, K, …) with a class for each position, such as a pixel.
        other: b, of the same shape, with the same samples in the same order.

    Raises:
        ConversionError: The shapes differ, there are no samples, or values are not finite.
    """
    if reference.shape != other.shape or reference.ndim < 2 or reference.size == 0:
        msg = gettext(
            "outputs of shape {shape} and {other_shape} cannot be compared; both must be (N, K, …) with N, K ≥ 1",
            shape=reference.shape,
            other_shape=other.shape,
        )
        raise ConversionError(msg)
    for name, values in (("reference", reference), ("exported", other)):
        if not np.isfinite(values).all():
            rows = int((~np.isfinite(values)).reshape(len(values), -1).any(axis=1).sum())
            msg = gettext(
                "the {name} network gives values that are not finite for {rows} of {count} samples",
                name=name,
                rows=rows,
                count=len(values),
            )
            raise ConversionError(msg)
    a, b = reference.astype(np.float64), other.astype(np.float64)
    difference = np.abs(a - b)
    return OutputAgreement(
        max_abs=float(difference.max()),
        mean_abs=float(difference.mean()),
        cosine=float(_cosine(a.reshape(len(a), -1), b.reshape(len(b), -1)).min()),
        top1=float((a.argmax(axis=1) == b.argmax(axis=1)).mean()),
        scale=float(np.abs(a).max()),
        samples=len(a),
        signal=float((a**2).sum()),
        noise=float((difference**2).sum()),
    )


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of each row; 1 for two zero rows, 0 for a zero row and another one."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products = (a * b).sum(axis=1)
    both_zero = ~a.any(axis=1) & ~b.any(axis=1)
    cosine: np.ndarray = np.where(both_zero, 1.0, products / np.where(norms == 0, 1.0, norms))
    return cosine


def merge_agreements(parts: Sequence[OutputAgreement]) -> OutputAgreement:
    """Agreement over several batches."""
    samples = sum(part.samples for part in parts)
    same = [part.top1 * part.samples for part in parts if part.top1 is not None]
    return OutputAgreement(
        max_abs=max(part.max_abs for part in parts),
        mean_abs=sum(part.mean_abs * part.samples for part in parts) / samples,
        cosine=min(part.cosine for part in parts),
        top1=sum(same) / samples if len(same) == len(parts) else None,
        scale=max(part.scale for part in parts),
        samples=samples,
        signal=sum(part.signal for part in parts),
        noise=sum(part.noise for part in parts),
    )
