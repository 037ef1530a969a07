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

With `experts: E` each feed-forward network becomes E of the same width, of which a router chooses `experts_per_token` (2) for
each token: Jiang et al. 2024, Mixtral, arXiv:2401.04088. `balance` is the factor of the loss that keeps their load equal.
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
EXPERT_ARGS = {"experts": "num_local_experts", "experts_per_token": "num_experts_per_tok", "balance": "router_aux_loss_coef"}
"""Further entries of a network with experts."""
BALANCE = 0.01
"""Default of `balance`, α of Fedus et al. 2022, arXiv:2101.03961."""


def build(name: str, settings: ModelSettings, spec: NetworkSpec, *, task: Task, base: Path, trust_code: bool) -> UnfittedModel:
    """Build a decoder with new weights.

    `args` are `layers`, `width`, `heads`, `key_value_heads` and `feed_forward` in place of those of the size, `experts`,
    `experts_per_token` and `balance`, and entries of `LlamaConfig` or `MixtralConfig`, such as `rope_theta`.

    Raises:
        MissingPackageError: transformers is not installed.
        ModelError: No such size, heads that do not divide the width, more experts per token than there are, or data that are
            no token numbers.
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
        **_experts(name, args),
        **{key: value for key, value in args.items() if key not in (*ARGS, *EXPERT_ARGS)},
    }


def _experts(name: str, args: dict[str, object]) -> dict[str, object]:
    """Entries of a network with experts; none for one without."""
    given = given_sizes(args, ("experts", "experts_per_token"), f"decoder:{name}")
    if "experts" not in given:
        if unused := [key for key in EXPERT_ARGS if key in args]:
            msg = gettext(
                "decoder:{name} has no experts, so {unused} has no effect; add experts, such as 4",
                name=name,
                unused=", ".join(unused),
            )
            raise ModelError(msg)
        return {}
    experts, per_token = given["experts"], given.get("experts_per_token", min(2, given["experts"]))
    balance = args.get("balance", BALANCE)
    if per_token > experts or not isinstance(balance, int | float) or balance < 0:
        msg = gettext(
            "decoder:{name}: {experts} experts, {per_token} per token, balance {balance!r}; experts_per_token is at most "
            "experts, and balance a number from 0 on",
            name=name,
            experts=experts,
            per_token=per_token,
            balance=balance,
        )
        raise ModelError(msg)
    values: dict[str, object] = {"experts": experts, "experts_per_token": per_token, "balance": float(balance)}
    return {"model_type": "mixtral", "sliding_window": None, **{EXPERT_ARGS[key]: value for key, value in values.items()}}


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
    check_heads(width, heads, f"decoder:{name}")
    if (width // heads) % 2 or heads % sizes["key_value_heads"]:
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
