"""`encoder:SIZE`: new encoders of the shape of BERT, for the vocabulary and the lengths of the data.

size     layers × width    heads   feed-forward
tiny     2 × 128           2       512            Turc et al. 2019, arXiv:1908.08962
mini     4 × 256           4       1024
small    4 × 512           8       2048
medium   8 × 512           8       2048
base     12 × 768          12      3072           Devlin et al. 2019, arXiv:1810.04805
"""

from __future__ import annotations

from pathlib import Path

from compress.core.errors import ModelError, nearest
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.signature import SEQUENCE
from compress.models.factory import UnfittedModel
from compress.models.settings import CONFIG, ModelSettings
from compress.models.sources import hugging_face
from compress.models.text.network_sizes import check_heads, given_sizes, vocabulary_of
from compress.tasks.base import Task

SIZES: dict[str, tuple[int, int]] = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "medium": (8, 512),
    "base": (12, 768),
}
"""Layers and width by name."""
HEAD_WIDTH, EXPANSION = 64, 4
ARGS = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
}
"""Entries of `args`, and what transformers calls them."""


def build(name: str, settings: ModelSettings, spec: NetworkSpec, *, task: Task, base: Path, trust_code: bool) -> UnfittedModel:
    """Build an encoder with new weights.

    `args` are `layers`, `width`, `heads` and `feed_forward` in place of those of the size, and entries of `BertConfig`, such as
    `hidden_dropout_prob`.

    Raises:
        MissingPackageError: transformers is not installed.
        ModelError: No such size, a width that the heads do not divide, or data that are no token numbers.
    """
    config = encoder_config(name, settings.args, spec)
    changed = settings.model_copy(update={"args": {CONFIG: config}})
    return hugging_face.build(f"encoder:{name}", changed, spec, task=task, base=base, trust_code=trust_code)


def encoder_config(name: str, args: dict[str, object], spec: NetworkSpec) -> dict[str, object]:
    """The configuration of transformers; errors and arguments as for `build`."""
    if name not in SIZES:
        raise ModelError(gettext("unknown encoder {name!r}: {hint}", name=name, hint=nearest(name, SIZES)))
    vocabulary = vocabulary_of(spec, f"encoder:{name}")
    inputs = {tensor.name: tensor for tensor in spec.signature.inputs}
    sizes = _sizes(name, args)
    types = inputs["token_type_ids"].values if "token_type_ids" in inputs else None
    return {
        "model_type": "bert",
        "vocab_size": vocabulary,
        "max_position_embeddings": spec.signature.sizes[SEQUENCE].most,
        "type_vocab_size": types[1] + 1 if types else 1,
        "pad_token_id": spec.text.pad_id if spec.text is not None else 0,
        **{ARGS[key]: value for key, value in sizes.items()},
        **{key: value for key, value in args.items() if key not in ARGS},
    }


def _sizes(name: str, args: dict[str, object]) -> dict[str, int]:
    layers, width = SIZES[name]
    numbers = given_sizes(args, ARGS, f"encoder:{name}")
    width = numbers.get("width", width)
    sizes = {
        "layers": layers,
        "width": width,
        "heads": max(1, width // HEAD_WIDTH),
        "feed_forward": EXPANSION * width,
        **numbers,
    }
    check_heads(sizes["width"], sizes["heads"], f"encoder:{name}")
    return sizes
