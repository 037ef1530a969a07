"""Check that losses and `generation:` fit: each kind of text trains the student, and losses on its own texts get some."""

from __future__ import annotations

from collections.abc import Sequence

from compress.core.language import gettext
from compress.core.registry_field import name_of
from compress.distill.generation.settings import Generation
from compress.train.loss_term import LossTerm


def check_generation(generation: Generation | None, losses: Sequence[LossTerm]) -> None:
    """Check the combination.

    Args:
        generation: Of the stage; None where all texts are those of the data.
        losses: Of the stage.

    Raises:
        ValueError: A loss needs texts of the student and there are none, or no loss applies to a kind of texts.
    """
    active = [term for term in losses if term.weight > 0]
    kinds = ("data",) if generation is None else generation.kinds
    sampling = [name_of("loss", term) for term in active if term.needs_samples]
    if sampling and "student" not in kinds:
        msg = gettext(
            "loss `{name}` learns from texts that the student writes; add `generation: {{student: 1.0}}` to the stage",
            name=sampling[0],
        )
        raise ValueError(msg)
    _check_reward(generation, active)
    for kind in kinds:
        if not any(term.applies_to(sampled=kind == "student") for term in active):
            names = ", ".join(name_of("loss", term) for term in active)
            msg = gettext(
                "none of the losses {names} learns from the batches of `{kind}` texts; add one, such as token_divergence, or "
                "change the fractions of `generation`",
                names=names,
                kind=kind,
            )
            raise ValueError(msg)


def _check_reward(generation: Generation | None, active: Sequence[LossTerm]) -> None:
    """Refuse a loss by rewards without one, and a reward without such a loss."""
    using = [name_of("loss", term) for term in active if term.uses_reward]
    has_reward = generation is not None and generation.reward is not None
    if using and not has_reward:
        msg = gettext(
            "loss `{name}` learns from the reward of an environment; name one: `generation: {{student: 1.0, reward: rouge_l}}`",
            name=using[0],
        )
        raise ValueError(msg)
    if has_reward and not using:
        msg = gettext(
            "generation: no loss uses the reward; add `environment_reward`, or set `reward_weight` of `minillm` or `llmr`"
        )
        raise ValueError(msg)
