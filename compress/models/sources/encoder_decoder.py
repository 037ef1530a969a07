"""`encoder_decoder:SIZE`: new encoder-decoders of the shape of T5 1.1, for the vocabulary of the data.

size     layers × width of encoder and of decoder    heads   feed-forward
tiny     2 × 128                                     2       352
mini     4 × 256                                     4       704
small    8 × 512                                     8       1376
base     12 × 768                                    12      2048

Relative positions, RMS normalisation before each part, no biases, and gated GELU of width 8/3 · D rounded up to 32: Raffel et
al. 2020, T5, arXiv:1910.10683, and Shazeer 2020, arXiv:2002.05202. The output layer is tied to the embedding.
"""

from __future__ import annotations

from pathlib import Path

from compress.core.errors import ModelError, nearest
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.factory import UnfittedModel
from compress.models.settings import CONFIG, ModelSettings
from compress.models.sources import hugging_face
from compress.models.text.network_sizes import check_heads, given_sizes, vocabulary_of
from compress.tasks.base import Task

SIZES: dict[str, tuple[int, int]] = {"tiny": (2, 128), "mini": (4, 256), "small": (8, 512), "base": (12, 768)}
"""Layers and width by name."""
HEAD_WIDTH, MULTIPLE = 64, 32
ARGS = {
    "layers": "num_layers",
    "decoder_layers": "num_decoder_layers",
    "width": "d_model",
    "heads": "num_heads",
    "feed_forward": "d_ff",
}
"""Entries of `args`, and what transformers calls them."""


def build(name: str, settings: ModelSettings, spec: NetworkSpec, *, task: Task, base: Path, trust_code: bool) -> UnfittedModel:
    """Build an encoder-decoder with new weights.

    `args` are `layers`, `decoder_layers` (as many by default), `width`, `heads` and `feed_forward` in place of those of the
    size, and entries of `T5Config`, such as `dropout_rate`.

    Raises:
        MissingPackageError: transformers is not installed.
        ModelError: No such size, a width that the heads do not divide, or data that are no token numbers.
    """
    config = encoder_decoder_config(name, settings.args, spec)
    changed = settings.model_copy(update={"args": {CONFIG: config}})
    return hugging_face.build(f"encoder_decoder:{name}", changed, spec, task=task, base=base, trust_code=trust_code)


def encoder_decoder_config(name: str, args: dict[str, object], spec: NetworkSpec) -> dict[str, object]:
    """The configuration of transformers; errors and arguments as for `build`."""
    if name not in SIZES:
        raise ModelError(gettext("unknown encoder_decoder {name!r}: {hint}", name=name, hint=nearest(name, SIZES)))
    source = f"encoder_decoder:{name}"
    vocabulary = vocabulary_of(spec, source)
    layers, width = SIZES[name]
    given = given_sizes(args, ARGS, source)
    layers, width = given.get("layers", layers), given.get("width", width)
    sizes = {
        "layers": layers,
        "decoder_layers": layers,
        "width": width,
        "heads": max(1, width // HEAD_WIDTH),
        "feed_forward": -(-8 * width // 3 // MULTIPLE) * MULTIPLE,
        **given,
    }
    check_heads(width, sizes["heads"], f"encoder_decoder:{name}")
    pad = spec.text.pad_id if spec.text is not None else 0
    return {
        "model_type": "t5",
        "vocab_size": vocabulary,
        "d_kv": width // sizes["heads"],
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": True,
        "pad_token_id": pad,
        "decoder_start_token_id": pad,
        "eos_token_id": None,
        **{ARGS[key]: value for key, value in sizes.items()},
        **{key: value for key, value in args.items() if key not in ARGS},
    }
