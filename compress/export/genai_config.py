"""`genai_config.json`, by which onnxruntime-genai runs the folder of an artifact, and the tokens that end a text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from compress.backends.decoder.key_value_cache import IDS, MASK, PARTS, PAST, POSITIONS, PRESENT
from compress.core.decoder_layout import DecoderLayout
from compress.core.network_spec import LOGITS, NetworkSpec
from compress.data.text.settings import ENDS, FILE

KIND = "llama"
"""Kind of network for onnxruntime-genai: one whose inputs and outputs are those that this file names."""
GENERATION, TOKENIZER = "generation_config.json", "tokenizer_config.json"


def stop_tokens(files: Mapping[str, bytes], spec: NetworkSpec) -> tuple[int, ...]:
    """Tokens that end a text: of the network's own generation settings, else the one of its training texts, or the usual ones.

    Args:
        files: Contents of the files of the tokenizer by name.
        spec: Of the network.
    """
    named = _json(files, GENERATION).get("eos_token_id")
    numbers = named if isinstance(named, list) else [named]
    if found := tuple(number for number in numbers if isinstance(number, int)):
        return found
    if FILE not in files:
        return ()
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(files[FILE].decode("utf-8"))
    end = spec.text.end_token if spec.text is not None else None
    names = ENDS if end is None else (end,)
    return tuple(number for name in names if (number := tokenizer.token_to_id(name)) is not None)


def genai_config(layout: DecoderLayout, model: Path, stops: tuple[int, ...], spec: NetworkSpec) -> str:
    """The configuration as JSON.

    Args:
        layout: Attention layers of the network.
        model: Its file, with past keys and values.
        stops: Tokens that end a text.
        spec: Of the network.
    """
    layer = layout.layers[0]
    vocabulary = spec.signature.outputs[0].shape[-1]
    inputs = {"input_ids": IDS, "attention_mask": MASK}
    if layout.positions:
        inputs["position_ids"] = POSITIONS
    of_layer = {part: PAST.format(layer="%d", part=part) for part in PARTS}
    present = {part: PRESENT.format(layer="%d", part=part) for part in PARTS}
    pad = spec.text.pad_id if spec.text is not None else 0
    config = {
        "model": {
            "type": KIND,
            "bos_token_id": stops[0] if stops else pad,
            "eos_token_id": list(stops),
            "pad_token_id": pad,
            "context_length": layout.context,
            "vocab_size": vocabulary,
            "decoder": {
                "filename": model.name,
                "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
                "head_size": layer.width,
                "hidden_size": layer.heads * layer.width,
                "num_attention_heads": layer.heads,
                "num_key_value_heads": layer.groups,
                "num_hidden_layers": len(layout.layers),
                "inputs": {
                    **inputs, "past_key_names": of_layer["key"], "past_value_names": of_layer["value"]
                },
                "outputs": {
                    "logits": LOGITS, "present_key_names": present["key"], "present_value_names": present["value"]
                },
            },
        },
        "search": {
            "do_sample": False, "max_length": layout.context, "min_length": 0, "num_beams": 1, "num_return_sequences": 1,
            "past_present_share_buffer": True, "repetition_penalty": 1.0, "temperature": 1.0, "top_k": 1, "top_p": 1.0,
        },
    }  # fmt: skip
    return json.dumps(config, indent=1)


def tokenizer_config(layout: DecoderLayout) -> str:
    """A configuration for a tokenizer without one, as onnxruntime-genai and transformers read it."""
    return json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": layout.context}, indent=1)


def _json(files: Mapping[str, bytes], name: str) -> dict[str, object]:
    try:
        values = json.loads(files[name]) if name in files else {}
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
