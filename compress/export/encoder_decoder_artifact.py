"""The artifact of an encoder-decoder: its encoder and its decoder as two files beside the whole network, and their script.

Before they ship, their logits are compared with those of the whole file, for prompts and responses of validation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from compress.backends.decoder.response_session import ResponseSession
from compress.backends.decoder.split_encoder import DECODER, ENCODER, split_encoder
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.core.atomic_files import write_text
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.stage import Candidate, Context
from compress.data.text.settings import DECODER_IDS
from compress.export.manifest import MODEL, rewrite_manifest
from compress.export.parity import ParityTable, check, form_name
from compress.export.parity_chain import FLOAT
from compress.export.respond_script import respond_script
from compress.export.settings import ExportTarget, Tolerance

if TYPE_CHECKING:
    from compress.backends.runner_protocol import Array

SAMPLES = 8
"""Prompts with responses that are compared."""
RUNTIME = "onnxruntime"


class EncoderDecoderArtifacts:
    """Gives artifacts of an encoder-decoder its two parts.

    Args:
        context: Task and data.
        tolerance: Of float files.
        pairs: Receives a row for each file.
    """

    def __init__(self, context: Context, tolerance: Tolerance, pairs: ParityTable) -> None:
        self.context, self.tolerance, self.pairs = context, tolerance, pairs
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
            split_encoder(folder / MODEL, folder)
            self._compare(candidate.file_for(target.runtime), folder)
        except ConversionError as error:
            for name in (ENCODER, DECODER):
                (folder / name).unlink(missing_ok=True)
            if self._compared and form_name(folder / MODEL) == FLOAT:
                raise
            return (Fact.of("export.encoder_not_apart", target.name, reason=str(error)),)
        write_text(folder / "infer.py", respond_script(candidate.spec))
        sizes = {name: (folder / name).stat().st_size for name in (ENCODER, DECODER)}
        rewrite_manifest(folder, {"encoder_decoder": {"encoder": ENCODER, "decoder": DECODER}})
        megabytes = {name: size / 1e6 for name, size in zip(("encoder", "decoder"), sizes.values(), strict=True)}
        return (Fact.of("export.encoder_apart", target.name, **megabytes),)

    def _compare(self, source: Path, folder: Path) -> None:
        """Add a row: logits of both parts against those of the whole file.

        Raises:
            ConversionError: Those of float files differ by more than the tolerance.
        """
        if source in self._compared:
            return
        self._compared.add(source)
        name = form_name(source)
        rows = [*_logits(source, folder, self.context)]
        is_float = name == FLOAT
        limit = gettext(
            "{absolute:g} + {relative:g} × largest output", absolute=self.tolerance.absolute, relative=self.tolerance.relative
        )
        count = sum(len(one) for one, _ in rows)
        parity = self.pairs.add_logits(
            gettext("{form} → encoder and decoder apart, {count} tokens", form=name, count=count),
            rows,
            limit if is_float else gettext("none: fused integer operators may round differently"),
        )
        if is_float:
            what = gettext("the file against its encoder and decoder")
            check(parity, relative=self.tolerance.relative, absolute=self.tolerance.absolute, what=what)


def _logits(source: Path, folder: Path, context: Context) -> Iterator[tuple[Array, Array]]:
    """Logits (T, V) of the whole file and of its parts, of responses of validation."""
    most = max(context.data.spec.signature.sizes[axis].most for axis in context.data.spec.signature.sizes)
    session = ResponseSession(folder, context=most)
    try:
        with OnnxRuntimeRunner(source) as runner:
            for batch in itertools.islice(context.data.validation.ordered(1), SAMPLES):
                feeds = {name: values.numpy() for name, values in batch.inputs.items()}
                session.read_prompt(feeds["input_ids"][0].tolist())
                yield runner.run(feeds)[0][0], session.read(feeds[DECODER_IDS][0].tolist())
    finally:
        session.close()
