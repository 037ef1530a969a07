"""ONNX files of networks that are named by their source, such as `hf:FOLDER`, or by the run that made them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from compress.core.errors import DeviceError
from compress.core.language import gettext
from compress.core.run_directory import STAGE_FOLDERS

SOURCE = "hf:"
"""Prefix of a source whose configuration says which inputs the network takes."""

FILE = "model.onnx"
"""Name of the network in the folder of a stage."""


@contextmanager
def exported_sources(models: Sequence[Path]) -> Iterator[list[Path]]:
    """The files of the models; a source is exported to a folder that exists inside the context.

    Args:
        models: ONNX files, folders, run directories, and sources of transformers. Of a run, the first network (the teacher or
            the starting network) and the last one are taken.

    Raises:
        DeviceError: Two sources have the same name.
        CompressError: A network cannot be built or exported.
    """
    with TemporaryDirectory(prefix="compress-profile-") as folder:
        files: list[Path] = []
        for model in models:
            name = str(model)
            if name.startswith(SOURCE):
                files.append(_export(name.removeprefix(SOURCE), Path(folder)))
            else:
                files += networks_of_run(model) or [model]
        yield files


def networks_of_run(folder: Path) -> list[Path]:
    """Files of the first and the last network of a run directory; empty for another folder or a file."""
    files = sorted(folder.glob(f"{STAGE_FOLDERS}/{FILE}"))
    return [*dict.fromkeys((files[0], files[-1]))] if files else []


def _export(name: str, folder: Path) -> Path:
    """Write the file of a checkpoint, named after it."""
    from compress.backends.export_onnx import export_onnx
    from compress.models.factory import build_model
    from compress.models.hugging_face_config import spec_and_task
    from compress.models.settings import ModelSettings

    path = folder / f"{Path(name).name or 'network'}.onnx"
    if path.exists():
        msg = gettext("two networks are named {name!r}; profile them one after the other", name=path.stem)
        raise DeviceError(msg)
    spec, task = spec_and_task(name, base=Path.cwd())
    network = build_model(ModelSettings(source=f"{SOURCE}{name}"), spec, seed=0, base=Path.cwd(), task=task).module
    export_onnx(network, spec, path)
    return path
