"""The artifact of a language model with a draft that speculates for it: `draft.onnx`, `speculative.json` and its script."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pydantic import Field, ValidationError

from compress.backends import onnx_files
from compress.backends.decoder.key_value_cache import is_cached
from compress.core.atomic_files import write_text
from compress.core.errors import ConversionError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.run_directory import ARTIFACTS
from compress.export.decoder_script import speculative_script
from compress.export.manifest import MANIFEST, MODEL, rewrite_manifest

DRAFT, SETTINGS = "draft.onnx", "speculative.json"


class PairSettings(FrozenModel):
    """Content of `speculative.json`.

    Attributes:
        k: Tokens that the draft proposes.
    """

    k: int = Field(ge=1, le=32)


def write_pair(source: Path, folder: Path, target: Path, draft: Path, k: int, spec: NetworkSpec) -> int:
    """Copy the artifacts of an earlier stage with a draft beside each model that keeps keys and values.

    Args:
        source: Folder of the stage that exported.
        folder: Folder of this stage.
        target: The model with the logits of all tokens.
        draft: The draft, with past keys and values.
        k: Tokens that the draft proposes.
        spec: Of the network.

    Returns:
        Number of artifacts with a draft; without any, nothing is written.
    """
    if not (source / ARTIFACTS).is_dir():
        return 0
    shutil.rmtree(folder / ARTIFACTS, ignore_errors=True)
    shutil.copytree(source / ARTIFACTS, folder / ARTIFACTS)
    count = 0
    for place in sorted((folder / ARTIFACTS).iterdir()):
        if not (place / MANIFEST).is_file() or not (place / MODEL).is_file() or not is_cached(place / MODEL):
            continue
        onnx_files.copy(target, place / MODEL)
        onnx_files.copy(draft, place / DRAFT)
        write_text(place / SETTINGS, PairSettings(k=k).model_dump_json())
        write_text(place / "infer.py", speculative_script(spec))
        rewrite_manifest(place, {"speculative": {"draft": DRAFT, "k": k}})
        count += 1
    if not count:
        shutil.rmtree(folder / ARTIFACTS)
    return count


def read_pair(folder: Path) -> PairSettings | None:
    """Settings of an artifact with a draft; None for one without.

    Raises:
        ConversionError: They are damaged.
    """
    path = folder / SETTINGS
    if not path.is_file() or not (folder / DRAFT).is_file():
        return None
    try:
        return PairSettings.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, ValidationError) as error:
        msg = gettext("{path} is damaged ({error}); export the network again", path=path, error=str(error).splitlines()[0])
        raise ConversionError(msg) from error
