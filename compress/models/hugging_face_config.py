"""Configurations of Hugging Face's transformers: where a checkpoint is, and the signature that its configuration says."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.errors import MissingPackageError, ModelError, TrustError, message_line
from compress.core.language import gettext
from compress.core.network_spec import LOGITS, NetworkSpec, image_spec
from compress.core.signature import BATCH, RESPONSE, SEQUENCE, AxisSizes, Signature, TensorSpec
from compress.core.user_path import user_path
from compress.data.text.settings import DECODER_IDS
from compress.models.hugging_face_task import is_decoder, is_encoder_decoder, saved_task
from compress.models.settings import CONFIG, ModelSettings
from compress.tasks.base import Task
from compress.tasks.text.token_classification import TokenClassification

if TYPE_CHECKING:
    from transformers import PretrainedConfig

CONNECTION_S = 3.0
"""Time limit for a connection to the hub."""
TYPICAL_SEQUENCE = 128
"""Tokens of examples and timings, where the network takes that many."""


def spec_of(name: str, *, base: Path = Path(), trust_code: bool = False) -> NetworkSpec:
    """Signature, class names and preprocessing; arguments and errors as for `spec_and_task`."""
    return spec_and_task(name, base=base, trust_code=trust_code)[0]


def spec_and_task(name: str, *, base: Path = Path(), trust_code: bool = False) -> tuple[NetworkSpec, Task | None]:
    """Signature, class names and preprocessing, from a checkpoint's configuration, and the task that it was saved for.

    The task is None for a classifier.

    Args:
        name: Folder or name on the hub.
        base: Folder that a relative folder starts from.
        trust_code: Whether code of the checkpoint may run.

    Raises:
        CompressError: As `build`.
    """
    config = read_config(name, ModelSettings(source=f"hf:{name}"), base, trust_code=trust_code)
    task = saved_task(config, name)
    labels = {int(key): str(label) for key, label in config.id2label.items()}
    classes = tuple(labels[index] for index in sorted(labels))
    if task is not None:
        return task.complete_spec(_text_spec(config, classes if isinstance(task, TokenClassification) else ())), task
    if is_image_classifier(config, name):
        height, width = image_size(config) or (224, 224)
        channels = int(getattr(config, "num_channels", 3))
        mean, std = _normalisation(name, base, channels)
        return image_spec(channels=channels, height=height, width=width, mean=mean, std=std, classes=classes), None
    logits = TensorSpec(name=LOGITS, shape=(BATCH, len(classes)))
    return _text_spec(config, classes, (logits,)), None


def _normalisation(name: str, base: Path, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel that a checkpoint's preprocessor names; 0.5 for both where it names none."""
    from transformers.image_processing_base import ImageProcessingMixin

    half = (0.5,) * channels
    try:
        with quiet_transformers():
            settings, _ = ImageProcessingMixin.get_image_processor_dict(**where(name, base))
        mean, std = (tuple(map(float, settings[key])) for key in ("image_mean", "image_std"))
    except (OSError, KeyError, TypeError, ValueError):  # it has no preprocessor_config.json, or one without them
        return half, half
    return (mean, std) if len(mean) == len(std) == channels and min(std) > 0 else (half, half)


def _text_spec(config: PretrainedConfig, classes: tuple[str, ...], outputs: tuple[TensorSpec, ...] = ()) -> NetworkSpec:
    """Inputs of a text network: a free axis of tokens, as long as its table of positions."""
    most = longest_sequence(config) or 512
    shape = (BATCH, SEQUENCE)
    types = int(getattr(config, "type_vocab_size", 0) or 0)
    inputs = [
        TensorSpec(name="input_ids", dtype="int64", shape=shape, values=(0, int(config.vocab_size) - 1)),
        TensorSpec(name="attention_mask", dtype="int64", shape=shape, values=(1, 1)),  # examples hold no padding
    ]
    if types > 1:
        inputs.append(TensorSpec(name="token_type_ids", dtype="int64", shape=shape, values=(0, types - 1)))
    sizes = {SEQUENCE: AxisSizes(1, min(TYPICAL_SEQUENCE, most), most)}
    if is_encoder_decoder(config):
        inputs.append(TensorSpec(name=DECODER_IDS, dtype="int64", shape=(BATCH, RESPONSE), values=inputs[0].values))
        sizes[RESPONSE] = sizes[SEQUENCE]
    return NetworkSpec(
        signature=Signature(inputs=tuple(inputs), outputs=outputs, sizes=sizes),
        classes=classes,
    )


def check_causal(config: PretrainedConfig, name: str) -> None:
    """Check that a network predicts the next token from those before it alone.

    Raises:
        ModelError: It is an encoder, whose tokens see those after them, or a network of another kind.
    """
    if not is_decoder(config):
        msg = gettext(
            "hf:{name} is a {model_type}, which is no decoder: causal_language_model needs a network whose tokens see those "
            "before them alone, such as Llama or GPT-2, or decoder:tiny",
            name=name,
            model_type=config.model_type,
        )
        raise ModelError(msg)


def check_encoder_decoder(config: PretrainedConfig, name: str) -> None:
    """Check that a network has an encoder that reads and a decoder that writes; it gets a start of texts where it names none.

    Raises:
        ModelError: It has not.
    """
    if not is_encoder_decoder(config):
        msg = gettext(
            "hf:{name} is a {model_type}, which is no encoder-decoder: sequence_to_sequence needs a network whose encoder "
            "reads a prompt and whose decoder writes, such as T5, BART or Marian, or encoder_decoder:tiny",
            name=name,
            model_type=config.model_type,
        )
        raise ModelError(msg)
    if getattr(config, "decoder_start_token_id", None) is None:
        config.decoder_start_token_id = getattr(config, "pad_token_id", None) or 0


def check_tokens(
    config: PretrainedConfig, name: str, spec: NetworkSpec, *, has_weights: bool, needs_padding: bool = True
) -> None:
    """Check that a network has an embedding for each token of the data and for each place of the longest text.

    The padding token becomes that of the data where the configuration names none; some networks find the last token by it. Its
    embedding is not trained, so a decoder, whose padding token may be the end of a text, gets none. A network with new weights
    gets the missing tokens.

    Raises:
        ModelError: Tokens or places are missing.
    """
    ids = spec.signature.inputs[0]
    vocabulary = getattr(config, "vocab_size", None)
    if isinstance(vocabulary, int) and ids.values is not None and not has_weights:
        config.vocab_size = vocabulary = max(vocabulary, ids.values[1] + 1)
    if isinstance(vocabulary, int) and ids.values is not None and ids.values[1] >= vocabulary:
        msg = gettext(
            "the tokenizer of the data has {tokens} tokens, and hf:{name} embeds {vocabulary}: give data.tokenizer the "
            "network's own, tokenizer: model, or a network with new weights",
            tokens=ids.values[1] + 1,
            name=name,
            vocabulary=vocabulary,
        )
        raise ModelError(msg)
    most = longest_sequence(config)
    if SEQUENCE in spec.signature.sizes and most is not None and spec.signature.sizes[SEQUENCE].most > most:
        msg = gettext(
            "the data have texts of up to {longest} tokens, and hf:{name} has {most} positions; set data.lengths.most: {most}",
            longest=spec.signature.sizes[SEQUENCE].most,
            name=name,
            most=most,
        )
        raise ModelError(msg)
    if needs_padding and spec.text is not None and getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = spec.text.pad_id


def longest_sequence(config: PretrainedConfig) -> int | None:
    """Tokens that a network has positions for; None where it names no number."""
    most = getattr(config, "max_position_embeddings", None)
    if not isinstance(most, int) or most < 1:
        return None
    if "roberta" in config.model_type or config.model_type in ("camembert", "longformer", "mpnet"):
        return most - int(config.pad_token_id) - 1  # these count positions from the number of the padding token
    return most


def read_config(name: str, settings: ModelSettings, base: Path, *, trust_code: bool) -> PretrainedConfig:
    """The configuration of a checkpoint, with the entries of `args` in place of its own.

    Raises:
        MissingPackageError: transformers is not installed.
        TrustError: The checkpoint brings code of its own.
        ModelError: There is none, or it cannot be read.
    """
    try:
        from transformers import AutoConfig
    except ImportError as error:
        raise MissingPackageError("transformers", "hf", gettext("the network hf:{name}", name=name)) from error
    changes = {key: value for key, value in settings.args.items() if key != CONFIG}
    try:
        with quiet_transformers():
            if isinstance(known := settings.args.get(CONFIG), Mapping):
                config = AutoConfig.for_model(**known)
            else:
                config = AutoConfig.from_pretrained(**where(name, base), trust_remote_code=trust_code)
    except Exception as error:  # transformers and its hub raise errors of many kinds
        raise unreadable(name, base, error) from error
    if unknown := [key for key in changes if not hasattr(config, key)]:
        msg = gettext(
            "hf:{name} has no setting {unknown}; args may change entries of its config.json",
            name=name,
            unknown=", ".join(unknown),
        )
        raise ModelError(msg)
    config.update(changes)
    return config


def where(name: str, base: Path) -> dict[str, object]:
    """Arguments that name a checkpoint: a folder, which is read without a network, or a name on the hub."""
    folder = user_path(name, base)
    if folder.is_dir():
        return {"pretrained_model_name_or_path": str(folder), "local_files_only": True}
    return {"pretrained_model_name_or_path": name, "local_files_only": not _is_hub_reachable()}


@cache
def _is_hub_reachable() -> bool:
    """Whether the hub's host accepts a connection; unknown, and taken as true, behind a proxy.

    Without a network, transformers would try again for minutes; so only files of earlier downloads are read then.
    """
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    address = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    if getproxies():
        return True
    try:
        port = address.port or (80 if address.scheme == "http" else 443)
        socket.create_connection((address.hostname or "", port), timeout=CONNECTION_S).close()
    except (OSError, ValueError):
        return False
    return True


def unreadable(name: str, base: Path, error: Exception) -> ModelError | TrustError:
    """What to tell where a checkpoint cannot be read."""
    reason = message_line(error)
    if "trust_remote_code" in str(error):
        return TrustError(gettext("hf:{name} brings code of its own; read it, then allow it with --trust-code", name=name))
    folder = user_path(name, base)
    if folder.is_dir():
        return ModelError(
            gettext(
                "{folder} holds no readable checkpoint of transformers ({reason}); save one with save_pretrained",
                folder=folder,
                reason=reason,
            )
        )
    return ModelError(
        gettext(
            "there is no folder {folder}, and the hub gives no {name!r} ({reason}); without a network, give a folder that "
            "save_pretrained wrote",
            folder=folder,
            name=name,
            reason=reason,
        )
    )


def is_image_classifier(config: PretrainedConfig, name: str) -> bool:
    """Whether a configuration is that of an image classifier; of a text classifier otherwise."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as IMAGES,
    )
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as TEXTS,
    )

    mapped = getattr(config, "auto_map", None) or {}
    if config.model_type in IMAGES or "AutoModelForImageClassification" in mapped:
        return True
    if config.model_type in TEXTS or "AutoModelForSequenceClassification" in mapped:
        return False
    msg = gettext(
        "hf:{name} is a {model_type}, which classifies neither images nor text; give a classifier",
        name=name,
        model_type=config.model_type,
    )
    raise ModelError(msg)


def image_size(config: PretrainedConfig) -> tuple[int, int] | None:
    """Height and width in pixels that a configuration names; None where it names none."""
    size = getattr(config, "image_size", None)
    if size is None:
        return None
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    return int(height), int(width)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep messages and progress bars of transformers off the user's screen."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
