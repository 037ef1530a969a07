"""Verify the file of an artifact: by its outputs, or by the texts that it writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compress.verify.cross_isa import Verification, verify
from compress.verify.inputs import check_single_source, load_samples
from compress.verify.machines import DEFAULT_PROCESSOR
from compress.verify.prompts import load_prompts
from compress.verify.verify_texts import verify_texts
from compress.verify.writing_files import find_writing_files, model_file


def verify_model(
    model: Path,
    count: int,
    *,
    recipe: str | None = None,
    images: Sequence[Path] = (),
    feeds: Path | None = None,
    trust_code: bool = False,
    isa: str = "aarch64",
    processor: str = DEFAULT_PROCESSOR,
    timeout_s: float = 900.0,
) -> Verification:
    """Compare a network on two machines; with a recipe, one that writes texts continues the prompts of its test split.

    Args:
        model: Folder of an artifact, or an ONNX file.
        count: Most samples.
        recipe: As for `load_samples`.
        images: As for `load_samples`.
        feeds: As for `load_samples`.
        trust_code: As for `load_samples`.
        isa: As for `verify`.
        processor: As for `verify`.
        timeout_s: As for `verify`.

    Raises:
        ConversionError: There is no network, or a runtime cannot load or run it.
        DataError: The inputs do not fit the network.
        DeviceError: As of `verify`.
    """
    check_single_source(recipe, images, feeds)
    path = model_file(model)
    files = None if recipe is None else find_writing_files(path)
    if recipe is not None and files is not None:
        prompts = load_prompts(files, recipe, count, trust_code=trust_code)
        return verify_texts(files, prompts, isa=isa, processor=processor, timeout_s=timeout_s)
    samples = load_samples(path, count, recipe=recipe, images=images, feeds=feeds, trust_code=trust_code)
    return verify(path, samples, isa=isa, processor=processor, timeout_s=timeout_s)
