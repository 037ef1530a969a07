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

from compress.backends.decoder.key_value_cache import write_cached
from compress.backends.decoder.session import DecoderSession
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.core.atomic_files import write_text
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import LOGITS
from compress.core.stage import Candidate, Context
from compress.data.text.settings import FILE
from compress.export.decoder_script import decoder_script
from compress.export.genai_config import TOKENIZER, genai_config, stop_tokens, tokenizer_config
from compress.export.manifest import MODEL, rewrite_manifest
from compress.export.parity import ParityTable, check, form_name
from compress.export.parity_chain import FLOAT
from compress.export.settings import DecoderExport, ExportTarget, Tolerance

if TYPE_CHECKING:
    from compress.backends.runner_protocol import Array

SAMPLES, STEPS = 8, 16
"""Texts that are compared, and tokens of each that are read one by one."""
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
        self._compared: set[Path] = set()

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
            aside.replace(path)
        except ConversionError as error:
            if self._compared and form_name(source) == FLOAT:
                raise
            return (Fact.of("export.no_cache", target.name, reason=str(error)),)
        finally:
            aside.unlink(missing_ok=True)
        files = self.context.data.files
        stops = stop_tokens(files, candidate.spec)
        write_text(folder / "infer.py", decoder_script(candidate.spec))
        write_text(folder / "genai_config.json", genai_config(layout, path, stops, candidate.spec))
        if FILE in files and TOKENIZER not in files:
            write_text(folder / TOKENIZER, tokenizer_config(layout))
        tokens = layout.bytes_per_token
        rewrite_manifest(
            folder, {"key_value_cache": {"bytes_per_token": tokens, "context": layout.context, "logits": self.settings.logits}}
        )
        is_uniform = len({(layer.groups, layer.width) for layer in layout.layers}) == 1
        notes = [Fact.of("export.cache", target.name, bytes_per_token=tokens, context=layout.context)]
        if not is_uniform:
            notes.append(Fact.of("export.not_for_genai", target.name))
        if not stops and FILE in files:
            notes.append(Fact.of("export.no_stop_tokens", target.name))
        return tuple(notes)

    def _compare(self, source: Path, path: Path) -> None:
        """Add a row: logits of the file with a cache against those of the file without.

        Raises:
            ConversionError: Those of float files differ by more than the tolerance.
        """
        import torch

        if source in self._compared:
            return
        self._compared.add(source)
        name = form_name(source)
        rows = [*_logits(source, path, self.context)]
        plain, cached = (torch.from_numpy(np.concatenate(part))[None] for part in zip(*rows, strict=True))
        parity = self.context.task.agreement({LOGITS: plain}, {LOGITS: cached})
        is_float = name == FLOAT
        limit = gettext(
            "{absolute:g} + {relative:g} × largest output", absolute=self.tolerance.absolute, relative=self.tolerance.relative
        )
        self.pairs.rows.append(
            {
                "pair": gettext("{form} → with past keys and values, {count} tokens", form=name, count=plain.shape[1]),
                "samples": len(rows),
                "max_abs": parity.max_abs,
                "mean_abs": parity.mean_abs,
                "cosine": parity.cosine,
                "top1": parity.top1,
                "limit": limit if is_float else gettext("none: ranges of activations are those of other tokens"),
            }
        )
        if is_float:
            what = gettext("the file against the same with past keys and values")
            check(parity, relative=self.tolerance.relative, absolute=self.tolerance.absolute, what=what)


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
