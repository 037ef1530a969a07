"""`teacher`: a copy of the recipe's teacher, as its training left it, for the start of the chain.

The network is not built from settings: the run takes it from the output of the teacher, see `copy_teacher`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from torch import nn

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.settings import ModelSettings
from compress.models.text.fit_vocabulary import WholeVocabulary, leave_whole_vocabulary
from compress.models.text.reduce_text import reduce_text
from compress.tasks.base import Task


def build(name: str, settings: ModelSettings, spec: NetworkSpec, *, task: Task, base: Path, trust_code: bool) -> NoReturn:  # noqa: ARG001
    """Refuse: there is no teacher outside a recipe.

    Raises:
        ModelError: Always.
    """
    msg = gettext("source `teacher` copies the teacher of a recipe, as its `model:`; here there is none, so name a network")
    raise ModelError(msg)


def copy_teacher(teacher: nn.Module, settings: ModelSettings, spec: NetworkSpec) -> tuple[nn.Module, tuple[Fact, ...]]:
    """The start of the chain from a trained teacher.

    Args:
        teacher: Loaded for this call, since it is changed.
        settings: The `model:` block, which may choose layers.
        spec: Of the data.

    Raises:
        ModelError: Layers are chosen that it does not have, or its embeddings cannot be factorized.
    """
    name = gettext("the teacher")
    module = teacher if settings.whole_vocabulary else leave_whole_vocabulary(teacher, name)
    if isinstance(module, WholeVocabulary):
        spec = spec.without_kept()
    module, notes = reduce_text(module, settings, spec, name)
    return module.eval(), (Fact.of("models.teacher_copied"), *notes)
