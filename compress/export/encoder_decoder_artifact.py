"""The artifact of an encoder-decoder: its encoder and its decoder as two files beside the whole network, and their script.

    encoder.onnx   prompt ──► keys and values of the attention to the prompt, and its mask
    decoder.onnx   these, a token, keys and values of earlier tokens ──► logits, keys and values
    weights.data   weights of these files and of model.onnx, each once

Before they ship, their logits are compared with those of the whole file, for prompts and responses of validation, whose tokens
are read one by one where the decoder keeps keys and values.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.backends.decoder.response_files import write_parts
from compress.backends.decoder.response_session import ResponseSession
from compress.backends.decoder.split_encoder import DECODER, ENCODER
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.shared_weights import WEIGHTS, share_weights
from compress.core.atomic_files import write_text
from compress.core.decoder_layout import DecoderLayout
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.stage import Candidate, Context
from compress.data.text.settings import DECODER_IDS
from compress.export.manifest import MODEL, rewrite_manifest
from compress.export.parity import ParityTable, check, form_name
from compress.export.parity_chain import FLOAT
from compress.export.respond_script import respond_script
from compress.export.settings import DecoderExport, ExportTarget, Tolerance
from compress.export.written_speech_script import written_speech_script
from compress.profile.memory.memory import weights

if TYPE_CHECKING:
    from compress.backends.runner_protocol import Array

SAMPLES = 8
"""Prompts with responses that are compared."""
RUNTIME = "onnxruntime"


class EncoderDecoderArtifacts:
    """Gives artifacts of an encoder-decoder its two parts.

    Args:
        context: Task and data.
        settings: Whether the decoder keeps keys and values, and in which numbers.
        tolerance: Of float files.
        pairs: Receives a row for each file.
    """

    def __init__(self, context: Context, settings: DecoderExport, tolerance: Tolerance, pairs: ParityTable) -> None:
        self.context, self.settings, self.tolerance, self.pairs = context, settings, tolerance, pairs
        self._compared: set[Path] = set()

    def write(self, target: ExportTarget, candidate: Candidate, folder: Path) -> tuple[Fact, ...]:
        """Write both files and the script of an artifact.

        Args:
            target: The device.
            candidate: Files of the network.
            folder: The folder of the artifact, which is complete without them.

        Returns:
            A note on what was written, or why the artifact stays without.

        Raises:
            ConversionError: The logits of a float file differ.
        """
        if target.runtime != RUNTIME:
            reason = gettext("only ONNX Runtime's CPU is tested, not {runtime}", runtime=target.runtime)
            return (Fact.of("export.encoder_not_apart", target.name, reason=reason),)
        try:
            layout, notes = self._write_parts(target, folder)
            self._compare(candidate.file_for(target.runtime), folder, layout)
        except ConversionError as error:
            for name in (ENCODER, DECODER):
                (folder / name).unlink(missing_ok=True)
            if self._compared and form_name(folder / MODEL) == FLOAT:
                raise
            return (Fact.of("export.encoder_not_apart", target.name, reason=str(error)),)
        share_weights(folder, (MODEL, ENCODER, DECODER))
        script = respond_script if candidate.spec.audio is None else written_speech_script
        write_text(folder / "infer.py", script(candidate.spec, cache=layout is not None))
        more: dict[str, object] = {"encoder_decoder": {"encoder": ENCODER, "decoder": DECODER, "weights": WEIGHTS}}
        if layout is not None and layout.response is not None:
            kept = {"bytes_per_token": layout.bytes_per_token, "bytes_per_prompt_token": layout.response.cross_bytes}
            more["key_value_cache"] = kept | {"context": layout.context, "logits": "all"}
        rewrite_manifest(folder, more)
        megabytes = {"encoder": weights(folder / ENCODER) / 1e6, "decoder": weights(folder / DECODER) / 1e6}
        return (Fact.of("export.encoder_apart", target.name, **megabytes, weights=weights(folder / MODEL) / 1e6), *notes)

    def _write_parts(self, target: ExportTarget, folder: Path) -> tuple[DecoderLayout | None, tuple[Fact, ...]]:
        """Both parts; the layout where the decoder keeps keys and values, and a note.

        Raises:
            ConversionError: The file has no parts.
        """
        try:
            layout = write_parts(folder / MODEL, folder, cache=self.settings.cache)
        except ConversionError as error:
            write_parts(folder / MODEL, folder, cache=False)
            return None, (Fact.of("export.no_response_cache", target.name, reason=str(error)),)
        if layout is None:
            unknown = gettext("the attention layers of its decoder are not known")
            reason = unknown if self.settings.cache else gettext("decoder.cache is false")
            return None, (Fact.of("export.no_response_cache", target.name, reason=reason),)
        part = layout.response
        assert part is not None  # noqa: S101  # `write_parts` has read it
        bytes_per_token = {"bytes_per_token": layout.bytes_per_token, "prompt_bytes": part.cross_bytes}
        notes = [Fact.of("export.response_cache", target.name, **bytes_per_token, context=layout.context)]
        if self.settings.key_value != "float32":
            notes.append(Fact.of("export.float_response_cache", target.name, asked=self.settings.key_value))
        return layout, tuple(notes)

    def _compare(self, source: Path, folder: Path, layout: DecoderLayout | None) -> None:
        """Add a row: logits of both parts against those of the whole file.

        Raises:
            ConversionError: Those of float files differ by more than the tolerance.
        """
        if source in self._compared:
            return
        self._compared.add(source)
        name = form_name(source)
        rows = [*_logits(source, folder, self.context, 1 if layout is not None else None)]
        is_float = name == FLOAT
        count = sum(len(one) for one, _ in rows)
        apart = gettext("{form} → encoder and decoder apart, {count} tokens", form=name, count=count)
        kept = gettext("{form} → encoder, and decoder with past keys and values, {count} tokens", form=name, count=count)
        parity = self.pairs.add_logits(
            apart if layout is None else kept,
            rows,
            self.tolerance.limit_of_parts(is_float=is_float),
        )
        if is_float:
            what = gettext("the file against its encoder and decoder")
            check(parity, relative=self.tolerance.relative, absolute=self.tolerance.absolute, what=what)


def _logits(source: Path, folder: Path, context: Context, step: int | None) -> Iterator[tuple[Array, Array]]:
    """Logits (T, V) of the whole file and of its parts, of responses of validation; `step` tokens are read at once, or all."""
    most = max(context.data.spec.signature.sizes[axis].most for axis in context.data.spec.signature.sizes)
    session = ResponseSession(folder, context=most)
    try:
        with OnnxRuntimeRunner(source) as runner:
            for batch in itertools.islice(context.data.validation.ordered(1), SAMPLES):
                feeds = {name: values.numpy() for name, values in batch.inputs.items()}
                session.read_inputs({name: values for name, values in feeds.items() if name != DECODER_IDS})
                tokens = feeds[DECODER_IDS][0].tolist()
                parts = [tokens[start : start + (step or len(tokens))] for start in range(0, len(tokens), step or len(tokens))]
                yield runner.run(feeds)[0][0], np.concatenate([session.read(part) for part in parts])
    finally:
        session.close()
