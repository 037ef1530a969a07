"""Presets of `distill`: named sets of parameters. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compress.core.language import gettext
from compress.core.registry_field import name_of
from compress.train.curriculum.settings import Curriculum
from compress.train.loss_term import LossTerm

MIXED = {"mixup": 1.0}
FUNMATCH: dict[str, object] = {
    "losses": ({"response": {"temperature": 1.0}},),
    "curriculum": MIXED,
    "epochs": 100,
    "schedule": "cosine",
}
"""Function matching: only the divergence from the teacher, on images mixed alike for both, in a long training.

Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent", arXiv:2106.05237.
"""


def apply_preset(settings: Mapping[str, object]) -> dict[str, object]:
    """Settings of a stage completed by its mode; explicit settings stay."""
    if settings.get("mode") != "funmatch":
        return dict(settings)
    curriculum = settings.get("curriculum", {})
    mixed = {**MIXED, **curriculum} if isinstance(curriculum, Mapping) else curriculum
    return {**FUNMATCH, **settings, "curriculum": mixed}


def without_labels(settings: Mapping[str, object]) -> dict[str, object]:
    """Settings of a stage whose default losses do not read labels, if it has data of its own."""
    if settings.get("data") is None or "losses" in settings:
        return dict(settings)
    return {**settings, "losses": ({"response": {}},)}


def check_funmatch(losses: Sequence[LossTerm], curriculum: Curriculum) -> None:
    """Refuse settings that are not function matching.

    Raises:
        ValueError: A loss that uses labels or no teacher, or images that are not mixed.
    """
    for term in losses:
        if term.weight > 0 and (term.uses_labels or not term.needs):
            msg = gettext(
                "mode `funmatch` matches the teacher without labels, but losses name `{name_of}`", name_of=name_of("loss", term)
            )
            raise ValueError(gettext("{msg}; write losses that use only the teacher, or leave `losses` out", msg=msg))
    if not (curriculum.mixup or curriculum.cutmix):
        msg = gettext("mode `funmatch` mixes images, but curriculum.mixup and cutmix are 0; leave them out, or the mode")
        raise ValueError(msg)
