"""Named ways to distill that set several parameters at once. Light: read and checked without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compress.core.registry_field import name_of
from compress.train.curriculum.settings import Curriculum
from compress.train.loss_term import LossTerm

FUNMATCH: dict[str, Any] = {
    "losses": ({"response": {"temperature": 1.0}},),
    "curriculum": {"mixup": 1.0},
    "epochs": 100,
    "schedule": "cosine",
}
"""Function matching: the divergence from the teacher's answers alone, on images mixed for both alike, for long.

Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent", arXiv:2106.05237.
"""


def apply_preset(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a stage was given, completed by its mode; what was given stays."""
    if given.get("mode") != "funmatch":
        return dict(given)
    curriculum = given.get("curriculum", {})
    mixed = {**FUNMATCH["curriculum"], **curriculum} if isinstance(curriculum, Mapping) else curriculum
    return {**FUNMATCH, **given, "curriculum": mixed}


def check_funmatch(losses: Sequence[LossTerm], curriculum: Curriculum) -> None:
    """Refuse what is not function matching.

    Raises:
        ValueError: A loss that looks at labels or at no teacher, or images that are not mixed.
    """
    for term in losses:
        if term.weight > 0 and (term.uses_labels or not term.needs):
            msg = f"mode `funmatch` matches the teacher and looks at no labels, but losses name `{name_of('loss', term)}`"
            raise ValueError(f"{msg}; write losses that look at the teacher alone, or leave `losses` out")
    if not (curriculum.mixup or curriculum.cutmix):
        msg = "mode `funmatch` mixes images, but curriculum.mixup and cutmix are 0; leave them out, or the mode"
        raise ValueError(msg)
