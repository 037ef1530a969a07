"""Sentences of export."""

from __future__ import annotations

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.sentences.table import Sentences


def _integer_cache(fact: Fact) -> str:
    values = fact.values
    sizes = gettext("keys and values of {bits} bits take {bytes} bytes per token in place of {float_bytes}", **values)
    if values.get("token_ms") is None:
        return sizes
    times = gettext(
        "a token after {prompt} takes {token_ms:.3g} ms, with float keys and values {float_token_ms:.3g} ms (measured)",
        **values,
    )
    slower = gettext("; they are slower here, and save memory alone") if values["slower"] else ""
    return f"{sizes}; {times}{slower}"


SENTENCES: Sentences = {
    "export.runtime_refused": "{reason}",
    "export.no_runtime_choice": "{runtime} does not run on this machine: {error}",
    "export.artifact_refused": "{reason}",
    "export.streaming": (
        "{subject} takes audio in chunks of {chunk_ms} ms and looks at no later audio; the outputs of chunks of {clips} "
        "validation clips differ by at most {difference} from those of the whole clips"
    ),
    "export.no_streaming": "{subject} is not written: {reason}",
    "export.float_file_ships": "{subject}: float32 ships, because no int8 file was made for {runtime}",
    "export.postprocessing_outside": "{subject}: {name} stays outside the graph for {runtime}, where it is not tried",
    "export.integer_cache": _integer_cache,
    "export.cache": "{subject}: the file keeps keys and values, {bytes_per_token} bytes per token, up to {context} tokens",
    "export.no_cache": "{subject}: the file keeps no keys and values, so each further token costs the whole text: {reason}",
    "export.encoder_apart": (
        "{subject}: encoder.onnx (weights of {encoder:.2f} MB) reads a prompt once, and decoder.onnx ({decoder:.2f} MB) writes "
        "the response; model.onnx is the whole network ({weights:.2f} MB); weights.data has the weights of all three, each once"
    ),
    "export.response_cache": (
        "{subject}: decoder.onnx keeps keys and values, so a further token costs one token: {bytes_per_token} bytes per token "
        "of the response and {prompt_bytes} per token of the prompt, up to {context} tokens"
    ),
    "export.no_response_cache": (
        "{subject}: decoder.onnx keeps no keys and values, so each further token costs the whole response: {reason}"
    ),
    "export.float_response_cache": "{subject}: keys and values stay float32; {asked} is made only for networks without encoder",
    "export.encoder_not_apart": (
        "{subject}: encoder and decoder stay in one file, so each token of a response costs the prompt too: {reason}"
    ),
    "export.towers_apart": (
        "{subject}: image.onnx ({image:.2f} MB) gives the vectors of images and text.onnx ({text:.2f} MB) those of texts, each "
        "with its weights in the file `.data` of its name; model.onnx runs both at once and has the same weights"
    ),
    "export.towers_not_apart": "{subject}: both towers stay in one file, which takes an image and a text at once: {reason}",
    "export.vision_apart": (
        "{subject}: vision.onnx (weights of {vision:.2f} MB) makes {tokens} visual tokens of an image, and language.onnx "
        "({language:.2f} MB) reads them and the question and writes the answer; it keeps keys and values, {bytes_per_token} "
        "bytes per token; model.onnx is the whole network; weights.data has the weights of all three, each once"
    ),
    "export.vision_not_apart": (
        "{subject}: vision and decoder stay in one file, so each token of an answer costs image and question too: {reason}"
    ),
    "export.not_for_genai": "{subject}: onnxruntime-genai does not run layers with different numbers of key–value heads",
    "export.no_stop_tokens": "{subject}: the tokenizer names no token that ends a text; generation ends at its limit",
    "export.converted_file_ships": "{subject}: {file} ships, converted for {runtime} from the ONNX file beside it",
    "export.onnx_file_ships": "{subject}: the file for ONNX Runtime ships, because none was made for {runtime}",
}
SUBJECTS: Sentences = {
    "export.runtime_refused": "runtime {subject} for {device}",
    "export.no_runtime_choice": "choice of a runtime for {subject}",
    "export.artifact_refused": "artifact for {subject}",
}
