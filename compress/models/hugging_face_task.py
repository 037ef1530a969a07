"""Which task a checkpoint of transformers was saved for, by the class that its configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.tasks.base import Task
from compress.tasks.text.causal_language_model import CausalLanguageModel
from compress.tasks.text.embedding import TextEmbedding
from compress.tasks.text.masked_language_model import MaskedLanguageModel
from compress.tasks.text.question_answering import QuestionAnswering
from compress.tasks.text.sequence_to_sequence import SequenceToSequence
from compress.tasks.text.token_classification import TokenClassification

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_TASKS: dict[str, type[Task]] = {
    "ForTokenClassification": TokenClassification,
    "ForQuestionAnswering": QuestionAnswering,
    "ForMaskedLM": MaskedLanguageModel,
    "ForCausalLM": CausalLanguageModel,
    "LMHeadModel": CausalLanguageModel,
    "ForConditionalGeneration": SequenceToSequence,
    "MTModel": SequenceToSequence,
    "Model": TextEmbedding,
}
"""Task by the end of the name of a class, such as `BertForMaskedLM`; `BertModel` has no head and gives vectors."""
_CLASSIFIERS = ("ForSequenceClassification", "ForImageClassification")


def saved_task(config: PretrainedConfig, name: str) -> Task | None:
    """The task of a text network; None for a classifier, and for a configuration that names no class.

    Args:
        config: Its configuration.
        name: Folder or name on the hub, for the error.

    Raises:
        ModelError: A network of another kind, such as one that writes texts.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as IMAGES

    saved = next(iter(getattr(config, "architectures", None) or ()), "")
    own_code = bool(getattr(config, "auto_map", None))
    if not saved or saved.endswith(_CLASSIFIERS) or own_code or config.model_type in IMAGES:
        return None
    end = next((end for end in _TASKS if saved.endswith(end)), None)
    if end is None or not _fits(config, _TASKS[end]):
        msg = gettext(
            "hf:{name} is a {saved}; networks of texts that are known here are classifiers, {known}, of an encoder "
            "such as BERT, a decoder such as Llama, or an encoder-decoder such as T5: give one of these, or an ONNX file",
            name=name,
            saved=saved,
            known=", ".join(f"…{each}" for each in _TASKS),
        )
        raise ModelError(msg)
    return _TASKS[end]()


def _fits(config: PretrainedConfig, task: type[Task]) -> bool:
    """Whether a network is of the kind that a task needs."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as ENCODERS

    if task is SequenceToSequence:
        return is_encoder_decoder(config)
    if task is CausalLanguageModel:
        return is_decoder(config)
    return config.model_type in ENCODERS and not getattr(config, "is_encoder_decoder", False)


def is_encoder_decoder(config: PretrainedConfig) -> bool:
    """Whether a configuration is that of a network whose encoder reads a text and whose decoder writes one, such as T5."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES as WRITERS

    return config.model_type in WRITERS and bool(getattr(config, "is_encoder_decoder", False))


def is_decoder(config: PretrainedConfig) -> bool:
    """Whether a configuration is that of a network whose tokens see those before them alone, such as Llama or GPT-2.

    Transformers also has causal heads for encoders, such as BERT, whose tokens see all others unless they are told not to.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as DECODERS
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as ENCODERS

    kind = config.model_type
    return kind in DECODERS and kind not in ENCODERS and not getattr(config, "is_encoder_decoder", False)
