"""The artifact of a network that answers questions on images: vision and decoder as two files, and their script.

    vision.onnx     an image ──► visual tokens
    language.onnx   these, a question, keys and values of earlier tokens ──► logits of the next token, keys and values
    weights.data    weights of these files and of model.onnx, each once

Before they ship, the logits of both in turn are compared with those of the whole file, at each token of answers of validation,
and each file is timed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.backends.decoder.key_value_cache import IDS, MASK
from compress.backends.decoder.split_vision import LANGUAGE, VISION, split_vision
from compress.backends.decoder.visual_session import VisualSession
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.shared_weights import WEIGHTS, share_weights
from compress.core.atomic_files import write_text
from compress.core.entries import Row
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.stage import Candidate, Context
from compress.data.batch import TARGET
from compress.export.infer_script import answer_script
from compress.export.manifest import MODEL, rewrite_manifest
from compress.export.parity import ParityTable, check, form_name
from compress.export.parity_chain import FLOAT
from compress.export.part_times import Part, time_parts
from compress.export.settings import ExportTarget, Tolerance
from compress.profile.memory.memory import weights

if TYPE_CHECKING:
    from compress.backends.runner_protocol import Array

SAMPLES = 32
"""Answers that are compared."""
RUNTIME = "onnxruntime"


class VisualArtifacts:
    """Gives artifacts of a network that answers questions on images its two parts.

    Args:
        context: Task and data.
        tolerance: Of float files.
        pairs: Receives a row for each file.

    Attributes:
        rows: Rows of the table `towers`: size and time of each part.
    """

    def __init__(self, context: Context, tolerance: Tolerance, pairs: ParityTable) -> None:
        self.context, self.tolerance, self.pairs = context, tolerance, pairs
        self.rows: list[Row] = []
        self._compared: set[Path] = set()

    def write(self, target: ExportTarget, candidate: Candidate, folder: Path) -> tuple[Fact, ...]:
        """Write both files and the script of an artifact.

        Args:
            target: The device.
            candidate: Files of the network.
            folder: The folder of the artifact, which is complete without them.

        Returns:
            A note on what was written, or why the artifact has one file.

        Raises:
            ConversionError: The logits of a float file differ.
        """
        if target.runtime != RUNTIME:
            reason = gettext("only ONNX Runtime's CPU is tested, not {runtime}", runtime=target.runtime)
            return (Fact.of("export.vision_not_apart", target.name, reason=reason),)
        try:
            layout, places = split_vision(folder / MODEL, folder)
        except ConversionError as error:
            for name in (VISION, LANGUAGE):
                (folder / name).unlink(missing_ok=True)
            return (Fact.of("export.vision_not_apart", target.name, reason=str(error)),)
        source = candidate.file_for(target.runtime)
        if source not in self._compared:
            self._compared.add(source)
            self._compare(folder)
            self.rows += self._time(folder, candidate, places)
        megabytes = {"vision": weights(folder / VISION) / 1e6, "language": weights(folder / LANGUAGE) / 1e6}
        share_weights(folder, (MODEL, VISION, LANGUAGE))
        write_text(folder / "infer.py", answer_script(candidate.spec))
        parts = {"vision": VISION, "language": LANGUAGE, "weights": WEIGHTS, "visual_tokens": places}
        kept = {"bytes_per_token": layout.bytes_per_token, "context": layout.context, "logits": "last"}
        rewrite_manifest(folder, {"visual_language": parts, "key_value_cache": kept})
        counts = {"tokens": places, "bytes_per_token": layout.bytes_per_token}
        return (Fact.of("export.vision_apart", target.name, **megabytes, **counts),)

    def _compare(self, folder: Path) -> None:
        """Add a row: logits of both files in turn against those of the whole one.

        Raises:
            ConversionError: Those of float files differ by more than the tolerance.
        """
        form = form_name(folder / MODEL)
        rows = [*_logits(folder, self.context)]
        is_float = form == FLOAT
        count = sum(len(one) for one, _ in rows)
        parity = self.pairs.add_logits(
            gettext(
                "{form} → vision, and decoder with past keys and values, {count} tokens of answers", form=form, count=count
            ),
            rows,
            self.tolerance.limit_of_parts(is_float=is_float),
        )
        if is_float:
            what = gettext("the file against its vision part and its decoder")
            check(parity, relative=self.tolerance.relative, absolute=self.tolerance.absolute, what=what)

    def _time(self, folder: Path, candidate: Candidate, places: int) -> list[Row]:
        """Weights and median latency of each part for an image and a question of the typical length."""
        example = {name: values.numpy() for name, values in candidate.spec.signature.example(1).items()}
        image = {name: array for name, array in example.items() if name not in (IDS, MASK)}
        tokens = example[IDS][0].tolist()
        with VisualSession(folder) as session:
            session.see(image)
            first = {**session.feeds(tokens), **session.past}
            session.read(tokens)
            further = {**session.feeds(tokens[:1]), **session.past}
        counts = {"places": places, "tokens": len(tokens)}
        return time_parts(
            folder,
            {
                gettext("whole network, {places} visual and {tokens} text tokens", **counts): Part(MODEL, example, False),
                gettext("vision encoder and projector"): Part(VISION, image),
                gettext("decoder, {places} visual and {tokens} text tokens", **counts): Part(LANGUAGE, first),
                gettext("decoder, a further token"): Part(LANGUAGE, further, False),
            },
            self.context,
        )


def _logits(folder: Path, context: Context) -> Iterator[tuple[Array, Array]]:
    """Logits (T, V) of the whole file and of its parts at each token of answers of validation, which are read one by one."""
    with OnnxRuntimeRunner(folder / MODEL) as whole, VisualSession(folder) as session:
        for batch in itertools.islice(context.data.validation.ordered(1), SAMPLES):
            feeds = {name: values.numpy() for name, values in batch.inputs.items()}
            (places,) = np.nonzero(batch.targets[TARGET][0].numpy() >= 0)
            ids, start, end = feeds[IDS][0].tolist(), int(places[0]) + 1, int(places[-1]) + 1
            session.see({name: array for name, array in feeds.items() if name not in (IDS, MASK)})
            parts = [session.read(ids[:start]), *(session.read([token]) for token in ids[start:end])]
            yield whole.run(feeds)[0][0, start - 1 : end], np.stack(parts)
