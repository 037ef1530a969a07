"""The artifact of a dual encoder: a file for images and a file for texts beside the whole network, and their script.

    image.onnx, image.data   an image ──► its vector
    text.onnx, text.data     tokens   ──► their vector
    model.onnx               both at once; it refers to the same weights

A search needs them apart: the vectors of a collection are computed once, and each query runs one tower. Before they ship, the
vectors of both files are compared with those of the whole one, and each file is timed.
"""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from pathlib import Path

import torch

from compress.backends.iterate_split import input_arrays
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.shared_weights import Place, share_weights
from compress.backends.split_towers import TOWERS, split_towers
from compress.core.atomic_files import write_text
from compress.core.entries import Row
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.stage import Candidate, Context
from compress.data.batch import Tensors
from compress.export.infer_script import tower_script
from compress.export.manifest import MODEL, rewrite_manifest
from compress.export.parity import ParityTable, check, form_name
from compress.export.parity_chain import FLOAT
from compress.export.part_times import Part, time_parts
from compress.export.settings import ExportTarget, Tolerance
from compress.profile.memory.memory import weights

BATCHES, BATCH_SIZE = 4, 16
"""Batches of validation that are compared."""
RUNTIME = "onnxruntime"


class TowerArtifacts:
    """Gives artifacts of a dual encoder its two towers.

    Args:
        context: Task and data.
        tolerance: Of float files.
        pairs: Receives a row for each file.

    Attributes:
        rows: Rows of the table `towers`: size and time of each file.
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
            ConversionError: The vectors of a float file differ.
        """
        if target.runtime != RUNTIME:
            reason = gettext("only ONNX Runtime's CPU is tested, not {runtime}", runtime=target.runtime)
            return (Fact.of("export.towers_not_apart", target.name, reason=reason),)
        try:
            split_towers(folder / MODEL, folder, candidate.spec)
        except ConversionError as error:
            for name in TOWERS.values():
                (folder / name).unlink(missing_ok=True)
            return (Fact.of("export.towers_not_apart", target.name, reason=str(error)),)
        source = candidate.file_for(target.runtime)
        if source not in self._compared:
            self._compared.add(source)
            self._compare(folder)
            self.rows += self._time(folder, candidate)
        share_tower_weights(folder)
        write_text(folder / "infer.py", tower_script(candidate.spec))
        rewrite_manifest(folder, {"towers": TOWERS})
        megabytes = {kind: weights(folder / name) / 1e6 for kind, name in TOWERS.items()}
        return (Fact.of("export.towers_apart", target.name, **megabytes),)

    def _compare(self, folder: Path) -> None:
        """Add a row: vectors of both files against those of the whole one.

        Raises:
            ConversionError: Those of float files differ by more than the tolerance.
        """
        form = form_name(folder / MODEL)
        whole, apart = _vectors(folder, self.context)
        is_float = form == FLOAT
        parity = self.pairs.add_outputs(
            gettext("{form} → image tower and text tower apart", form=form),
            whole,
            apart,
            self.tolerance.limit_of_parts(is_float=is_float),
        )
        if is_float:
            what = gettext("the file against its towers")
            check(parity, relative=self.tolerance.relative, absolute=self.tolerance.absolute, what=what)

    def _time(self, folder: Path, candidate: Candidate) -> list[Row]:
        """Weights and median latency of each file for one sample of the typical length, timed in turns on this machine."""
        example = {name: values.numpy() for name, values in candidate.spec.signature.example(1).items()}
        own = {
            kind: {each.name: example[each.name] for each in spec.signature.inputs}
            for kind, spec in (("image", candidate.spec.tower("image")), ("text", candidate.spec.tower("text")))
        }
        parts = {
            gettext("both towers"): Part(MODEL, example, False),
            gettext("image tower"): Part(TOWERS["image"], own["image"]),
            gettext("text tower"): Part(TOWERS["text"], own["text"]),
        }
        return time_parts(folder, parts, self.context)


def share_tower_weights(folder: Path) -> None:
    """Move the weights of each tower to a file of its own, to which the whole network refers.

    Args:
        folder: Folder of the three files.
    """
    stored: dict[bytes, Place] = {}
    for name in TOWERS.values():
        own: dict[bytes, Place] = {}
        share_weights(folder, (name,), f"{Path(name).stem}.data", own)
        stored |= own
    rest = share_weights(folder, (MODEL,), places=stored)
    if not rest.stat().st_size:
        rest.unlink()


def _vectors(folder: Path, context: Context) -> tuple[Tensors, Tensors]:
    """Vectors of validation samples by the whole file, and by both towers."""
    whole: list[Tensors] = []
    apart: list[Tensors] = []
    with ExitStack() as stack:
        both, *towers = (stack.enter_context(OnnxRuntimeRunner(folder / name)) for name in (MODEL, *TOWERS.values()))
        for batch in itertools.islice(context.data.validation.ordered(BATCH_SIZE), BATCHES):
            feeds = input_arrays(batch)
            whole.append(context.task.name_outputs(tuple(map(torch.from_numpy, both.run(feeds)))))
            parts = [tower.run({name: feeds[name] for name in tower.shapes()})[0] for tower in towers]
            apart.append(context.task.name_outputs(tuple(map(torch.from_numpy, parts))))
    first, second = ({name: torch.cat([each[name] for each in parts]) for name in parts[0]} for parts in (whole, apart))
    return first, second
