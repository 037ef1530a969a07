"""Recipes of the commands `quantize`, `prune` and `export`: a network, data and a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from compress.config.yaml_writer import dump
from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.registry import names
from compress.core.signature import Signature
from compress.core.user_path import user_path

Tree = dict[str, object]
NO_SIZES: Mapping[str, int] = MappingProxyType({})


def write_recipe(
    command: str, model: str, data: str | None, stages: Sequence[Tree], folder: Path, sizes: Mapping[str, int] = NO_SIZES
) -> Path:
    """Write the recipe of a command into a folder; its paths are absolute, so that it runs in any working folder.

    Args:
        command: Name of the command, part of the name of the run.
        model: Path of an ONNX file, or a source such as `torchvision:resnet18`.
        data: A path or a source; None for random inputs, for an ONNX file only.
        stages: The stages.
        folder: Folder of all runs.
        sizes: Of free axes of an ONNX file, by name.

    Raises:
        CompressError: The file or the data are missing; a network without a file needs data.
    """
    source, signature = _model(model, sizes)
    stem = "".join(letter if letter.isalnum() else "_" for letter in Path(model.rpartition(":")[2]).stem.lower())
    tree: Tree = {
        "name": f"{command}_{stem.strip('_') or 'network'}",
        "task": "classification" if signature is None else "outputs",
        "data": _data(data, source, signature, sizes),
        "model": {"source": source},
        "stages": list(stages),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{tree['name']}.yaml"
    path.write_text(dump(tree), encoding="utf-8")
    return path


def _model(model: str, sizes: Mapping[str, int]) -> tuple[str, Signature | None]:
    """Source of a network, and its signature if it is an ONNX file."""
    kind, colon, rest = model.partition(":")
    if colon and kind in names("model") and kind != "onnx":
        return model, None
    from compress.backends.sized_signature import sized_signature

    path = user_path(rest if kind == "onnx" and colon else model, Path.cwd()).absolute()
    return f"onnx:{path}", sized_signature(path, sizes)


def _data(data: str | None, source: str, signature: Signature | None, sizes: Mapping[str, int]) -> Tree:
    kind, _, rest = (data or "").partition(":")
    if data is None or data == "random":
        if signature is None:
            msg = gettext(
                "{source} has no data of its own: give --data, such as --data imagefolder:PATH or --data digits", source=source
            )
            raise DataError(msg)
        written: Tree = {"sizes": dict(sizes)} if sizes else {}
        return {"source": f"random:{source.partition(':')[2]}", **written}
    if kind in names("data"):
        needs_path = bool(rest) and kind not in ("python",)
        sized = _image_size(signature) if kind == "images" and signature is not None else {}
        return {"source": f"{kind}:{user_path(rest, Path.cwd()).absolute()}" if needs_path else data, **sized}
    path = user_path(data, Path.cwd()).absolute()
    if path.suffix == ".npz":
        return {"source": f"npz:{path}"}
    if signature is None:
        return {"source": f"imagefolder:{path}"}
    return {"source": f"images:{path}", **_image_size(signature)}


def _image_size(signature: Signature) -> Tree:
    """Channels and size of the images of a network; free axes have their typical size."""
    shape = signature.shape_of(signature.only_input)
    if len(shape) != 4 or shape[1] not in (1, 3):
        return {}
    return {"channels": shape[1], "sizes": {"height": shape[2], "width": shape[3]}}
