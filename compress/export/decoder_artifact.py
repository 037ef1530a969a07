"""The artifact of a network that continues texts: a file with past keys and values, its script, and a genai configuration.

The file is that of the network with a cache in place of the scores of all tokens. Before it ships, its logits are compared with
those of the file without: of a prompt, and of further tokens one by one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.backends import onnx_files
from compress.backends.decoder.key_value_cache import read_layout, write_cached
from compress.backends.decoder.quantized_cache import Bits, calibrate_cache
from compress.backends.decoder.session import DecoderSession
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.core.atomic_files import write_text
from compress.core.decoder_layout import FLOAT_BITS, DecoderLayout
from compress.core.errors import ConversionError
from compress.core.fact import Fact, Value
from compress.core.language import gettext
from compress.core.stage import Candidate, Context
from compress.core.statistics import percentile_interval
from compress.data.text.settings import FILE
from compress.export.decoder_script import decoder_script
from compress.export.genai_config import TOKENIZER, genai_config, stop_tokens, tokenizer_config
from compress.export.manifest import MODEL, rewrite_manifest
from compress.export.parity import ParityTable, check, form_name
from compress.export.parity_chain import FLOAT
from compress.export.settings import DecoderExport, ExportTarget, Tolerance
from compress.profile.generation.serving_mix import time_mix

if TYPE_CHECKING:
    from compress.backends.runner_protocol import Array

SAMPLES, STEPS = 8, 16
"""Texts that are compared, and tokens of each that are read one by one."""
CALIBRATION, TIMED_PROMPT = 32, 256
"""Training texts for the scales of integer keys and values, and tokens of the prompt before which a token is timed."""
RUNTIME = "onnxruntime"


class DecoderArtifacts:
    """Gives artifacts of a network that continues texts past keys and values.

    Args:
        context: Task and data.
        settings: What the file computes.
        tolerance: Of float files.
        pairs: Receives a row for each file.
    """

    def __init__(self, context: Context, settings: DecoderExport, tolerance: Tolerance, pairs: ParityTable) -> None:
        self.context, self.settings, self.tolerance, self.pairs = context, settings, tolerance, pairs
        self._compared: set[tuple[Path, int | None]] = set()

    def write(self, target: ExportTarget, candidate: Candidate, folder: Path) -> tuple[Fact, ...]:
        """Replace the file and the script of an artifact, and write `genai_config.json`.

        Args:
            target: The device.
            candidate: Files of the network.
            folder: The folder of the artifact, which is complete without past keys and values.

        Returns:
            A note on what was written, or why the artifact stays without.

        Raises:
            ConversionError: The logits of a float file differ.
        """
        source, path = candidate.file_for(target.runtime), folder / MODEL
        if target.runtime != RUNTIME:
            reason = gettext(
                "only ONNX Runtime's CPU is tested with past keys and values, not {runtime}", runtime=target.runtime
            )
            return (Fact.of("export.no_cache", target.name, reason=reason),)
        aside = folder / f".{MODEL}.cached"
        try:
            layout = write_cached(source, aside, logits=self.settings.logits)
            self._compare(source, aside)
            facts: list[Fact] = []
            if (bits := self.settings.cache_bits) is not None:
                layout, speed = self._write_integers(source, aside, bits)
                facts.append(speed)
            onnx_files.move(aside, path)
        except ConversionError as error:
            if self._compared and form_name(source) == FLOAT:
                raise
            return (Fact.of("export.no_cache", target.name, reason=str(error)),)
        finally:
            onnx_files.remove(aside)
        files = self.context.data.files
        stops = stop_tokens(files, candidate.spec)
        write_text(folder / "infer.py", decoder_script(candidate.spec))
        write_text(folder / "genai_config.json", genai_config(layout, path, stops, candidate.spec))
        if FILE in files and TOKENIZER not in files:
            write_text(folder / TOKENIZER, tokenizer_config(layout))
        tokens = layout.bytes_per_token
        described = {"bytes_per_token": tokens, "context": layout.context, "logits": self.settings.logits}
        integers = {} if layout.cache_bits == FLOAT_BITS else {"bits": layout.cache_bits}
        rewrite_manifest(folder, {"key_value_cache": described | integers})
        notes = [Fact.of("export.cache", target.name, bytes_per_token=tokens, context=layout.context), *facts]
        is_uniform = len({(layer.groups, layer.width) for layer in layout.layers}) == 1
        if not is_uniform:
            notes.append(Fact.of("export.not_for_genai", target.name))
        if not stops and FILE in files:
            notes.append(Fact.of("export.no_stop_tokens", target.name))
        return tuple(notes)

    def _write_integers(self, source: Path, path: Path, bits: Bits) -> tuple[DecoderLayout, Fact]:
        """Replace a file whose keys and values are float by one with integers.

        Args:
            source: File without a cache.
            path: File with a float cache; replaced.
            bits: Of the integers.

        Returns:
            Its layout, and a fact on bytes and times.
        """
        before = read_layout(path)
        assert before is not None  # noqa: S101  # `write_cached` has written it
        batches = itertools.islice(self.context.data.train.ordered(1), CALIBRATION)
        texts = [next(iter(batch.inputs.values()))[0].tolist() for batch in batches]
        integers = path.with_name(f"{path.name}.integers")
        try:
            layout = write_cached(source, integers, logits=self.settings.logits, cache=calibrate_cache(path, texts, bits))
            self._compare(source, integers, bits)
            values: dict[str, Value] = {"bits": bits, "bytes": layout.bytes_per_token, "float_bytes": before.bytes_per_token}
            if not self.context.smoke:
                values |= _token_times(path, integers, layout.context)
            onnx_files.move(integers, path)
        finally:
            onnx_files.remove(integers)
        return layout, Fact.of("export.integer_cache", self.settings.key_value, **values)

    def _compare(self, source: Path, path: Path, bits: Bits | None = None) -> None:
        """Add a row: logits of the file with a cache against those of the file without.

        Args:
            source: File without a cache.
            path: File with one.
            bits: Of integer keys and values; None for float32.

        Raises:
            ConversionError: Those of float files differ by more than the tolerance.
        """
        if (source, bits) in self._compared:
            return
        self._compared.add((source, bits))
        name = form_name(source)
        rows = [*_logits(source, path, self.context)]
        is_float = name == FLOAT and bits is None
        count = sum(len(one) for one, _ in rows)
        parity = self.pairs.add_logits(
            _pair(name, count, bits),
            rows,
            self.tolerance.limit if is_float else gettext("none: ranges of activations are those of other tokens"),
        )
        if is_float:
            what = gettext("the file against the same with past keys and values")
            check(parity, relative=self.tolerance.relative, absolute=self.tolerance.absolute, what=what)


def _pair(form: str, count: int, bits: int | None) -> str:
    """What a row compares."""
    if bits is None:
        return gettext("{form} → with past keys and values, {count} tokens", form=form, count=count)
    return gettext("{form} → with past keys and values of {bits} bits, {count} tokens", form=form, bits=bits, count=count)


def _token_times(path: Path, integers: Path, context: int) -> dict[str, Value]:
    """Time of a token with float and with integer keys and values, ms, after a prompt; and whether integers are slower."""
    prompt = max(1, min(TIMED_PROMPT, context - STEPS))
    times = time_mix({FLOAT: path, "integers": integers}, prompt, STEPS)
    ratio = np.array(times["integers"].tokens_ms) / np.array(times[FLOAT].tokens_ms)
    interval = percentile_interval(ratio, 0.5)
    return {
        "prompt": prompt,
        "token_ms": float(np.median(times["integers"].tokens_ms)),
        "float_token_ms": float(np.median(times[FLOAT].tokens_ms)),
        "slower": interval is not None and interval[0] > 1.0,
    }


def _logits(source: Path, path: Path, context: Context) -> Iterator[tuple[Array, Array]]:
    """Logits (tokens, V) of both files for texts of validation: after a prompt, and after each further token."""
    session = DecoderSession(path)
    try:
        with OnnxRuntimeRunner(source) as runner:
            for batch in itertools.islice(context.data.validation.ordered(1), SAMPLES):
                ids = next(iter(batch.inputs.values())).numpy()
                ids = ids[:, : min(session.capacity, ids.shape[1])]
                start = max(1, min(ids.shape[1] // 2, ids.shape[1] - STEPS))
                end = min(start + STEPS, ids.shape[1])
                mask = np.ones_like(ids[:, :end])
                expected = runner.run({"input_ids": ids[:, :end], "attention_mask": mask})[0][0, start - 1 :]
                session.start()
                parts = [session.read(ids[0, :start].tolist())[-1:]]
                parts += [session.read([token])[-1:] for token in ids[0, start:end].tolist()]
                yield expected, np.concatenate(parts)
    finally:
        session.close()
