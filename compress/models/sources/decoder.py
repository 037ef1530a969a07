"""`decoder:SIZE`: new decoders of the shape of Llama, for the vocabulary and the lengths of the data.

size     layers × width    heads   key–value heads   feed-forward
tiny     2 × 128           2       1                 352
mini     4 × 256           4       2                 704
small    6 × 384           6       2                 1024
medium   8 × 512           8       4                 1376
base     12 × 768          12      4                 2048

RMS normalisation (Zhang & Sennrich 2019, arXiv:1910.07467), rotary positions (Su et al. 2021, arXiv:2104.09864), SwiGLU of
width 8/3 · D rounded up to 32 (Shazeer 2020, arXiv:2002.05202), grouped-query attention (Ainslie et al. 2023,
arXiv:2305.13245), and an output layer tied to the embedding: Touvron et al. 2023, Llama, arXiv:2302.13971.
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
from compress.models.text.network_sizes import given_sizes, vocabulary_of
from compress.tasks.base import Task

SIZES: dict[str, tuple[int, int, int]] = {
    "tiny": (2, 128, 1),
    "mini": (4, 256, 2),
    "small": (6, 384, 2),
    "medium": (8, 512, 4),
    "base": (12, 768, 4),
}
"""Layers, width and key–value heads by name."""
HEAD_WIDTH, MULTIPLE = 64, 32
ARGS = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "key_value_heads": "num_key_value_heads",
    "feed_forward": "intermediate_size",
}
"""Entries of `args`, and what transformers calls them."""


def build(name: str, settings: ModelSettings, spec: NetworkSpec, *, task: Task, base: Path, trust_code: bool) -> UnfittedModel:
    """Build a decoder with new weights.

    `args` are `layers`, `width`, `heads`, `key_value_heads` and `feed_forward` in place of those of the size, and entries of
    `LlamaConfig`, such as `rope_theta`.

    Raises:
        MissingPackageError: transformers is not installed.
        ModelError: No such size, heads that do not divide the width, or data that are no token numbers.
    """
    config = decoder_config(name, settings.args, spec)
    changed = settings.model_copy(update={"args": {CONFIG: config}})
    return hugging_face.build(f"decoder:{name}", changed, spec, task=task, base=base, trust_code=trust_code)


def decoder_config(name: str, args: dict[str, object], spec: NetworkSpec) -> dict[str, object]:
    """The configuration of transformers; errors and arguments as for `build`.

    It names no padding token: an embedding of padding is not trained, and the token may also be the end of a text.
    """
    if name not in SIZES:
        raise ModelError(gettext("unknown decoder {name!r}: {hint}", name=name, hint=nearest(name, SIZES)))
    vocabulary = vocabulary_of(spec, f"decoder:{name}")
    sizes = _sizes(name, args)
    return {
        "model_type": "llama",
        "vocab_size": vocabulary,
        "max_position_embeddings": spec.signature.sizes[SEQUENCE].most,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        **{ARGS[key]: value for key, value in sizes.items()},
        **{key: value for key, value in args.items() if key not in ARGS},
    }


def _sizes(name: str, args: dict[str, object]) -> dict[str, int]:
    layers, width, groups = SIZES[name]
    numbers = given_sizes(args, ARGS, f"decoder:{name}")
    width = numbers.get("width", width)
    heads = numbers.get("heads", max(1, width // HEAD_WIDTH))
    sizes = {
        "layers": layers,
        "width": width,
        "heads": heads,
        "key_value_heads": groups if heads % groups == 0 else 1,
        "feed_forward": -(-8 * width // 3 // MULTIPLE) * MULTIPLE,
        **numbers,
    }
    if width % heads or (width // heads) % 2 or heads % sizes["key_value_heads"]:
        msg = gettext(
            "decoder:{name}: a width of {width}, {heads} heads and {groups} key–value heads do not fit; width / heads is an "
            "even number, and key_value_heads divides heads",
            name=name,
            width=width,
            heads=heads,
            groups=sizes["key_value_heads"],
        )
        raise ModelError(msg)
    return sizes
