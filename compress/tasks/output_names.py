"""What a network returned, by the names of its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.data.batch import Tensors


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
        named = {name: outputs.get(name) for name in names}
    elif isinstance(outputs, (tuple, list)):
        named = dict(zip(names, outputs, strict=False))
    else:
        msg = gettext(
            "the network returns {kind}; it must return tensors: {names}", kind=type(outputs).__name__, names=", ".join(names)
        )
        raise ModelError(msg)
    tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
    if len(tensors) < len(names):
        missing = ", ".join(name for name in names if name not in tensors)
        msg = gettext(
            "the network returns no tensor for {missing}; it must return, in this order: {names}",
            missing=missing,
            names=", ".join(names),
        )
        raise ModelError(msg)
    return tensors
