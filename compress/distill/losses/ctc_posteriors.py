"""Distillation of CTC posteriors by frame, with the blanks handled apart.

A CTC network gives the blank nearly all of the probability in most frames, and each character a spike of one or two frames. The
mean over frames is then mostly a loss on blanks. With the posteriors p of the teacher and q of the student, both softened:

    L = T² Σ_t w_t D_t / Σ_t w_t,   w_t = 1 where the teacher's likeliest class is a character, `blank_weight` elsewhere

    frames      D_t = KL(p_t ‖ q_t); with `blank_weight: 1` this is the loss `response`
                Takashima et al. 2018, ICASSP, "An investigation of a knowledge distillation method for CTC acoustic models"
    guided      D_t = −log q_t[k_t] with the teacher's likeliest class k_t, so that spikes fall on the teacher's frames
                after Kurata & Audhkhasi 2019, "Guiding CTC posterior spike timings", arXiv:1904.08311, whose term is
                −Σ q_t[k_t] over the frames with spikes

`blank_weight: 0` leaves frames of blanks out, as the mask of the second paper does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from compress.data.characters import BLANK
from compress.distill.losses.response import kl_divergence, log_softmax
from compress.tasks.capability import Capability
from compress.train.loss_term import LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["frames", "guided"]


def ctc_posteriors(z_s: Tensor, z_t: Tensor, *, kind: Kind, T: float | Tensor = 1.0, blank_weight: float = 0.1) -> Tensor:  # noqa: N803
    """Loss of each frame, weighted so that its mean over the frames is L of the module.

    Args:
        z_s: Student logits, (R, K), blank first.
        z_t: Teacher logits, (R, K).
        kind: The distance of two frames.
        T: Temperature, above 0, a number or (R,).
        blank_weight: Weight of frames in which the teacher's likeliest class is the blank, at least 0.

    Returns:
        (R,); zeros if no frame has a weight.
    """
    best = z_t.argmax(dim=1)
    weights = (best != BLANK).to(z_s.dtype) + blank_weight * (best == BLANK).to(z_s.dtype)
    log_q = log_softmax(z_s, T)
    guided = kind == "guided"
    distance = -log_q.gather(1, best[:, None])[:, 0] if guided else kl_divergence(log_softmax(z_t, T), log_q)
    return T**2 * weights * distance / weights.mean().clamp_min(1e-6)


class CtcPosteriors(LossTerm):
    """`ctc_posteriors:` in a recipe.

    Attributes:
        kind: Distance of two frames, see the module.
        temperature: T above.
        blank_weight: Weight of frames that are blank for the teacher; 0 leaves them out, 1 counts all alike.
    """

    kind: Kind = "frames"
    temperature: float = Field(default=1.0, gt=0.0)
    blank_weight: float = Field(default=0.1, ge=0.0, le=1.0)
    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits",)
    requires: ClassVar[tuple[Capability, ...]] = ("blank_class",)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `ctc_posteriors`."""
        return ctc_posteriors(
            inputs.student_logits,
            inputs.require_teacher_logits(),
            kind=self.kind,
            T=inputs.temperature_or(self.temperature),
            blank_weight=self.blank_weight,
        )
