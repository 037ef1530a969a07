"""Two files of a network that gives a vector for an image and one for a text: each has the nodes of one output.

    file:  image, tokens ──► both vectors        image.onnx:  image ──► its vector        text.onnx:  tokens ──► their vector

The numbers of each node are those of the file, so quantized files are divided as float ones are.
"""

from __future__ import annotations

from pathlib import Path

from compress.backends import onnx_files
from compress.backends.graph_part import graph_part, read_batch_of
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec

TOWERS = {"image": "image.onnx", "text": "text.onnx"}
"""Names of the files."""


def split_towers(source: Path, folder: Path, spec: NetworkSpec) -> None:
    """Write `image.onnx` and `text.onnx`.

    Args:
        source: A file with both towers.
        folder: Folder of the new files.
        spec: Of the file.

    Raises:
        ConversionError: An output needs the inputs of the other tower, too.
        StoreError: The folder is not writable, or the disk is full.
    """
    model = onnx_files.load(source)
    for output, (kind, name) in zip(model.graph.output, TOWERS.items(), strict=True):
        own = spec.tower("image" if kind == "image" else "text")
        names = {each.name for each in own.signature.inputs}
        inputs = [each for each in model.graph.input if each.name in names]
        part = graph_part(model, inputs, [output], [output.name])
        read_batch_of(part.graph, min(names), {value for node in part.graph.node for value in node.input} - names)
        known = {name for node in part.graph.node for name in node.output} | {each.name for each in part.graph.initializer}
        needed = {name for node in part.graph.node for name in node.input if name} - known
        if further := needed - names:
            msg = gettext(
                "{output} of {path} also needs {inputs}, so the towers cannot be apart",
                output=output.name,
                path=source.name,
                inputs=", ".join(sorted(further)),
            )
            raise ConversionError(msg)
        onnx_files.write_metadata(part, own)
        onnx_files.check(part)
        onnx_files.save(part, folder / name)
