"""Jacobian matching: the student's input gradients imitate the teacher's.

Srinivas & Fleuret 2018, "Knowledge Transfer with Jacobian Matching", arXiv:1803.00443, section 3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from compress.core.language import gettext
from compress.tasks.capability import Capability
from compress.train.loss_term import LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor


def jacobian(g_s: Tensor, g_t: Tensor) -> Tensor:
    """Squared distance of normalised input gradients.

        L_n = ‖ g_s / ‖g_s‖ − g_t / ‖g_t‖ ‖²,   g = ∂ log softmax(z)_c / ∂x,   c the teacher's top-1 class

    Args:
        g_s: Of the student, shaped as the inputs, (N, …).
        g_t: Of the teacher.

    Returns:
        Loss of each sample, (N,), from 0, for equal directions, to 4.
    """
    from torch.nn import functional as F

    return (F.normalize(g_s.flatten(1), dim=1) - F.normalize(g_t.flatten(1), dim=1)).square().sum(dim=1)


class Jacobian(LossTerm):
    """`jacobian:` in a recipe. Costs a second backward pass through the student, and one through the teacher."""

    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits", "input_gradient")
    requires: ClassVar[tuple[Capability, ...]] = ("continuous_input", "class_rows", "row_per_sample")

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `jacobian`."""
        from compress.train.teachers.online import input_gradient

        if inputs.teacher_gradient is None:
            msg = gettext("a term that uses the input gradient must declare needs = ('input_gradient',)")
            raise TypeError(msg)
        c = inputs.require_teacher_logits().argmax(dim=1)
        return jacobian(input_gradient(inputs.student_logits, c, inputs.batch.input, keep_graph=True), inputs.teacher_gradient)
