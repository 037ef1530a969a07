"""`hf:NAME_OR_FOLDER`: networks of Hugging Face's transformers, an optional package, for images and for text.

The task decides the head: a classifier of images or texts, or one for tokens, answers, masked or next tokens, or vectors.

A folder is read as it is; any other name is looked up in the local cache, then on the hub. Weights are safetensors alone. Code
that a checkpoint brings runs only with --trust-code. Each network is wrapped in a module with plain tensors in and out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models import fit_to_data as head
from compress.models.audio.transformers_ctc import (
    TransformersCtc,
    check_ctc_config,
    check_rate,
    fit_characters,
    preprocessor,
    vocabulary,
)
from compress.models.audio.whisper_ctc import WHISPER, WhisperCtc, check_whisper
from compress.models.audio.whisper_text import WINDOW, WhisperText, check_whisper_text
from compress.models.factory import UnfittedModel
from compress.models.hugging_face_config import (
    check_causal,
    check_encoder_decoder,
    check_tokens,
    image_size,
    is_image_classifier,
    quiet_transformers,
    read_config,
    unreadable,
    where,
)
from compress.models.read_weights import first_few
from compress.models.settings import CONFIG, FRESH, ModelSettings
from compress.models.text.encoder_decoder import EncoderDecoder
from compress.models.text.plain_modules import to_plain
from compress.models.text.sentence_settings import SentenceSettings, sentence_settings
from compress.models.text.task_kinds import TextKind, text_kind
from compress.models.text.task_networks import AnswerFinder, MaskedTokens, NextTokens, SentenceEncoder, TokenClassifier
from compress.tasks.audio.speech_ctc import SpeechCtc
from compress.tasks.audio.speech_seq2seq import SpeechSeq2Seq
from compress.tasks.base import Task

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Auto = Any
"""A class of transformers that chooses the class of a network by its configuration, such as `AutoModel`."""

_MARKS = ("_is_hf_initialized", "_use_kernels", "_weight_conversions")
"""What transformers notes on a module while it loads weights: a network with fresh weights lacks some of it."""
_HALF = ("float16", "bfloat16")


class ImageClassifier(nn.Module):
    """Images (N, C, H, W) → logits (N, K).

    Args:
        network: A network of `AutoModelForImageClassification`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.network(pixel_values=pixels).logits
        return logits


class SequenceClassifier(nn.Module):
    """Token numbers, attention mask and where used token types, each int64 (N, L) → logits (N, K).

    Args:
        network: A network of `AutoModelForSequenceClassification`.
        takes_types: Whether it has embeddings of token types; without them these are not used.
    """

    def __init__(self, network: nn.Module, *, takes_types: bool = True) -> None:
        super().__init__()
        self.network = network
        self.takes_types = takes_types

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Logits."""
        types = {} if token_type_ids is None or not self.takes_types else {"token_type_ids": token_type_ids}
        logits: Tensor = self.network(input_ids=input_ids, attention_mask=attention_mask, **types).logits
        return logits


def build(
    name: str,
    settings: ModelSettings,
    spec: NetworkSpec,
    *,
    task: Task,
    base: Path,
    trust_code: bool,
) -> UnfittedModel:
    """Build a network with its weights, for the task; a classifier for images or text as its configuration says.

    Raises:
        MissingPackageError: transformers is not installed.
        TrustError: The checkpoint brings code of its own.
        ModelError: No such checkpoint, not a classifier, no safetensors, weights that do not fit, images of another size.
    """
    if isinstance(task, SpeechSeq2Seq):
        return _whisper_text(name, settings, spec, base=base, trust_code=trust_code)
    if isinstance(task, SpeechCtc):
        return _speech_network(name, settings, spec, base=base, trust_code=trust_code)
    kind = text_kind(task)
    if kind is not None:
        return _text_network(kind, name, settings, spec, base=base, trust_code=trust_code)
    config = read_config(name, settings, base, trust_code=trust_code)
    is_image = is_image_classifier(config, name)
    has_weights = settings.weights != FRESH and CONFIG not in settings.args
    if is_image:
        _fit_size(config, name, spec, has_weights=has_weights)
    else:
        check_tokens(config, name, spec, has_weights=has_weights)
    network, notes = _network(_auto(is_image), name, config, settings, base=base, trust_code=trust_code)
    if not is_image:
        takes_types = int(getattr(config, "type_vocab_size", 0) or 0) > 1
        return UnfittedModel(SequenceClassifier(network, takes_types=takes_types), int(config.num_labels), notes)
    module = ImageClassifier(network)
    if spec.image_channels is not None:
        notes = (*notes, *_fit_channels(module, spec.image_channels))
    return UnfittedModel(module, int(config.num_labels), notes)


def _text_network(
    kind: TextKind, name: str, settings: ModelSettings, spec: NetworkSpec, *, base: Path, trust_code: bool
) -> UnfittedModel:
    """A network for a task of texts; errors as for `build`."""
    sentence = sentence_settings(name, {**settings.args, **_configured(settings)}, base)
    own = {key: value for key, value in settings.args.items() if key not in SentenceSettings.model_fields}
    config = read_config(name, settings.model_copy(update={"args": own}), base, trust_code=trust_code)
    has_weights = settings.weights != FRESH and CONFIG not in settings.args
    if kind == "next":
        check_causal(config, name)
    if kind == "responses":
        check_encoder_decoder(config, name)
    check_tokens(config, name, spec, has_weights=has_weights, needs_padding=kind != "next")
    labels = config.num_labels
    if kind == "tokens":
        config.update({"id2label": dict(enumerate(spec.classes)), "label2id": {tag: n for n, tag in enumerate(spec.classes)}})
    elif kind == "answers":
        config.update({"num_labels": 2})
    changed = config.num_labels != labels
    network, notes = _network(
        _text_auto(kind), name, config, settings, base=base, trust_code=trust_code, has_own_labels=changed
    )
    takes_types = int(getattr(config, "type_vocab_size", 0) or 0) > 1
    if kind == "vectors":
        if getattr(network, "pooler", None) is not None:
            network.pooler = None  # type: ignore[assignment]  # its output is not used
        module: nn.Module = SentenceEncoder(network, takes_types=takes_types, settings=sentence, width=int(config.hidden_size))
    elif kind == "responses":
        module = EncoderDecoder(network, start=int(config.decoder_start_token_id))
    else:
        wrapper = {"tokens": TokenClassifier, "answers": AnswerFinder, "masked": MaskedTokens, "next": NextTokens}[kind]
        module = wrapper(network, takes_types=takes_types)
    return UnfittedModel(module, 0, notes)


def _speech_network(name: str, settings: ModelSettings, spec: NetworkSpec, *, base: Path, trust_code: bool) -> UnfittedModel:
    """A network of audio with a CTC head for the characters of the data; errors as for `build`."""
    from transformers import AutoModelForCTC

    config = read_config(name, settings, base, trust_code=trust_code)
    if config.model_type == WHISPER:
        return _whisper_network(name, config, settings, spec, base=base, trust_code=trust_code)
    check_ctc_config(config, name)
    prepared = preprocessor(name, base)
    check_rate(prepared, spec, name)
    tokens = {} if settings.weights == FRESH or CONFIG in settings.args else vocabulary(name, base)
    if not tokens:
        config.update({"vocab_size": len(spec.classes), "pad_token_id": 0})
    network, notes = _network(
        AutoModelForCTC, name, config, settings, base=base, trust_code=trust_code, has_own_labels=not tokens
    )
    if tokens:
        fit_characters(network, config, tokens, spec.classes, name)
    return UnfittedModel(TransformersCtc(network, config, normalise=bool(prepared.get("do_normalize", True))), 0, notes)


def _whisper_network(
    name: str, config: PretrainedConfig, settings: ModelSettings, spec: NetworkSpec, *, base: Path, trust_code: bool
) -> UnfittedModel:
    """The encoder of Whisper with a new head for the characters of the data; errors as for `build`."""
    from transformers import AutoModel

    check_whisper(config, spec, name)
    network, notes = _network(AutoModel, name, config, settings, base=base, trust_code=trust_code)
    assert spec.audio is not None  # noqa: S101  # `check_whisper` has read it
    module = WhisperCtc(network.get_encoder(), spec.audio.rate, len(spec.classes))  # type: ignore[operator]
    new = [f"head.{key}" for key in module.head.state_dict()]
    head = Fact.of("models.fresh_head", name, count=len(new), first=first_few(new))
    return UnfittedModel(module, 0, (*notes, head))


def _whisper_text(name: str, settings: ModelSettings, spec: NetworkSpec, *, base: Path, trust_code: bool) -> UnfittedModel:
    """Whisper with its decoder; errors as for `build`."""
    from transformers import AutoModelForSpeechSeq2Seq

    own = {key: value for key, value in settings.args.items() if key != WINDOW}
    config = read_config(name, settings.model_copy(update={"args": own}), base, trust_code=trust_code)
    if config.model_type != WHISPER:
        msg = gettext(
            "hf:{name} is a {model_type}; speech_seq2seq takes networks of the shape of Whisper",
            name=name,
            model_type=config.model_type,
        )
        raise ModelError(msg)
    window = check_whisper_text(config, spec, settings.args.get(WINDOW), name)
    network, notes = _network(AutoModelForSpeechSeq2Seq, name, config, settings, base=base, trust_code=trust_code)
    assert spec.audio is not None  # noqa: S101  # `check_whisper_text` has read it
    return UnfittedModel(WhisperText(network, spec.audio.rate, len(spec.classes), window), 0, notes)


def _configured(settings: ModelSettings) -> Mapping[str, object]:
    """The entries of a whole configuration."""
    known = settings.args.get(CONFIG)
    return known if isinstance(known, Mapping) else {}


def _network(
    auto: Auto,
    name: str,
    config: PretrainedConfig,
    settings: ModelSettings,
    *,
    base: Path,
    trust_code: bool,
    has_own_labels: bool = False,
) -> tuple[nn.Module, tuple[Fact, ...]]:
    """A network of transformers with its weights, or with new ones, and notes."""
    notes: tuple[Fact, ...] = ()
    if settings.weights == FRESH or CONFIG in settings.args:
        with quiet_transformers():
            network = auto.from_config(config, trust_remote_code=trust_code)
    else:
        network, notes = _pretrained(name, config, base, auto=auto, has_own_labels=has_own_labels, trust_code=trust_code)
    for part in network.modules():
        for key in _MARKS:
            vars(part).pop(key, None)
    return to_plain(network), notes


def _auto(is_image: bool) -> Auto:
    from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

    return AutoModelForImageClassification if is_image else AutoModelForSequenceClassification


def _text_auto(kind: TextKind) -> Auto:
    from transformers import (
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForMaskedLM,
        AutoModelForQuestionAnswering,
        AutoModelForSeq2SeqLM,
        AutoModelForTokenClassification,
    )

    autos: dict[TextKind, Auto] = {
        "tokens": AutoModelForTokenClassification,
        "answers": AutoModelForQuestionAnswering,
        "masked": AutoModelForMaskedLM,
        "next": AutoModelForCausalLM,
        "responses": AutoModelForSeq2SeqLM,
        "vectors": AutoModel,
    }
    return autos[kind]


def _pretrained(
    name: str, config: PretrainedConfig, base: Path, *, auto: Auto, has_own_labels: bool, trust_code: bool
) -> tuple[nn.Module, tuple[Fact, ...]]:
    """The network with its weights as float32, and notes on what was missing, left over or converted.

    With labels of its own, whose number is not that of the checkpoint, its head is new.
    """
    saved_as = str(config.dtype).removeprefix("torch.")
    try:
        with quiet_transformers():
            network, report = auto.from_pretrained(
                **where(name, base),
                config=config,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=has_own_labels,
                trust_remote_code=trust_code,
            )
    except Exception as error:  # likewise
        if isinstance(error, OSError) and "safetensors" in str(error):
            msg = gettext(
                "hf:{name} holds no model.safetensors; weights are read from safetensors alone: load it once in transformers "
                "and save_pretrained, or set weights: fresh",
                name=name,
            )
            raise ModelError(msg) from error
        raise unreadable(name, base, error) from error
    notes = _loading_notes(name, network, report)
    if saved_as in _HALF:
        notes.append(Fact.of("models.converted_to_float32", name, count=len(network.state_dict()), dtype=saved_as))
    return network, tuple(notes)


def _loading_notes(name: str, network: nn.Module, report: Mapping[str, Iterable[str]]) -> list[Fact]:
    """Notes on weights that are fresh or not used; a network with other fresh weights than its head is refused."""
    other = (key if isinstance(key, str) else key[0] for key in report["mismatched_keys"])
    missing, unused = sorted({*report["missing_keys"], *other}), sorted(report["unexpected_keys"])
    is_body = getattr(network, "base_model", None) is network
    if is_body:  # without a head; the pooler is for classifiers
        missing, unused = ([key for key in keys if not key.startswith("pooler.")] for keys in (missing, unused))
    body = "" if is_body else f"{getattr(network, 'base_model_prefix', '')}."
    if inside := [key for key in missing if key.startswith(body)]:
        msg = gettext(
            "hf:{name} lacks {count} weights of its network ({inside}); save the whole network",
            name=name,
            count=len(inside),
            inside=first_few(inside),
        )
        raise ModelError(msg)
    notes = [Fact.of("models.fresh_head", name, count=len(missing), first=first_few(missing))] if missing else []
    if unused:
        notes.append(
            Fact.of("models.weights_unused", name, count=len(unused), prefix=gettext("the classifier"), first=first_few(unused))
        )
    return notes


def _fit_size(config: PretrainedConfig, name: str, spec: NetworkSpec, *, has_weights: bool) -> None:
    """Let a network with a table of positions take the data's images, where it has no weights yet.

    Raises:
        ModelError: It has weights for images of another size.
    """
    size, needed = image_size(config), (spec.height, spec.width)
    if size is None or size == needed or not hasattr(config, "patch_size") or not hasattr(config, "hidden_size"):
        return
    if has_weights:
        msg = gettext(
            "hf:{name} is for images of {size}×{width} pixels, the data has {needed}×{needed_width}; set data.image_size",
            name=name,
            size=size[0],
            width=size[1],
            needed=needed[0],
            needed_width=needed[1],
        )
        raise ModelError(msg)
    config.image_size = needed[0] if needed[0] == needed[1] else list(needed)


def _fit_channels(module: nn.Module, channels: int) -> list[Fact]:
    """Fit the first convolution, and the numbers that its owners compare images with."""
    notes = head.fit_channels(module, channels)
    for part in module.modules() if notes else ():
        if isinstance(getattr(part, "num_channels", None), int):
            part.num_channels = channels  # type: ignore[assignment]
    return notes
