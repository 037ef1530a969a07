"""`torchvision:NAME`: torchvision's networks for the task, with fresh or pretrained weights.

The classification networks serve every task whose output is a vector; segmentation and detection have their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn
from torchvision import models
from torchvision.models import maxvit, vision_transformer

from compress.core.entries import integer
from compress.core.errors import ModelError, nearest
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.factory import UnfittedModel
from compress.models.settings import ModelSettings
from compress.models.sources import torchvision_detection, torchvision_segmentation
from compress.models.sources.torchvision_weights import download_weights, find_weights, normalisation_facts
from compress.tasks.base import Task

TASK_NETWORKS: Mapping[str, object] = {
    "segmentation": torchvision_segmentation.NETWORKS,
    "detection": torchvision_detection.NETWORKS,
}
"""Where torchvision keeps the networks of tasks whose output is no vector."""
TASK_BUILDERS: Mapping[str, Callable[[str, ModelSettings, NetworkSpec], UnfittedModel]] = {
    "segmentation": torchvision_segmentation.build,
    "detection": torchvision_detection.build,
}
VIT: Mapping[str, Mapping[str, int]] = {
    "vit_b_16": {"patch_size": 16, "num_layers": 12, "num_heads": 12, "hidden_dim": 768, "mlp_dim": 3072},
    "vit_b_32": {"patch_size": 32, "num_layers": 12, "num_heads": 12, "hidden_dim": 768, "mlp_dim": 3072},
    "vit_l_16": {"patch_size": 16, "num_layers": 24, "num_heads": 16, "hidden_dim": 1024, "mlp_dim": 4096},
    "vit_l_32": {"patch_size": 32, "num_layers": 24, "num_heads": 16, "hidden_dim": 1024, "mlp_dim": 4096},
    "vit_h_14": {"patch_size": 14, "num_layers": 32, "num_heads": 16, "hidden_dim": 1280, "mlp_dim": 5120},
}
"""What torchvision's builders fix, so that `args` may change it (a patch of 8 pixels, fewer layers)."""

MAXVIT_CHANNELS = [64, 128, 256, 512]
MAXVIT: Mapping[str, object] = {
    "stem_channels": 64,
    "block_channels": MAXVIT_CHANNELS,
    "block_layers": [2, 2, 5, 2],
    "head_dim": 32,
    "stochastic_depth_prob": 0.2,
    "partition_size": 7,
}
"""Likewise for maxvit_t."""


def build(
    name: str,
    settings: ModelSettings,
    spec: NetworkSpec,
    *,
    task: Task,
    base: Path,  # noqa: ARG001
    trust_code: bool,  # noqa: ARG001
) -> UnfittedModel:
    """Build a network of torchvision.

    Raises:
        ModelError: A network for another task, unknown weights or arguments, no download, images of an unfit size.
    """
    _refuse_unknown(name, task)
    if task.name in TASK_NETWORKS:
        return TASK_BUILDERS[task.name](name, settings, spec)
    if settings.weights is not None:
        return _pretrained(name, settings, spec)
    size = spec.known_head_size
    arguments = ({} if size is None else {"num_classes": size}) | settings.args
    builder, notes = _builder(name, arguments, spec)
    classes = integer(arguments, "num_classes") if "num_classes" in arguments else 0
    return UnfittedModel(_called(name, builder, arguments), classes, notes)


def _refuse_unknown(name: str, task: Task) -> None:
    known = models.list_models(module=TASK_NETWORKS.get(task.name, models))
    if name in known:
        return
    if name in models.list_models():
        own = next((other for other, room in TASK_NETWORKS.items() if name in models.list_models(module=room)), None)
        kind = gettext("no plain classification network (detection, video and quantized ones are not)")
        if own or name in models.list_models(module=models):
            kind = gettext("a network for {own}", own=own or "classification")
        msg = gettext("torchvision:{name} is {kind}, and the task is {task_name}", name=name, kind=kind, task_name=task.name)
    else:
        msg = gettext("torchvision has no network {name!r}", name=name)
    raise ModelError(gettext("{msg}: {hint}", msg=msg, hint=nearest(name.lower(), known)))


def _builder(name: str, arguments: dict[str, object], spec: NetworkSpec) -> tuple[Callable[..., nn.Module], tuple[Fact, ...]]:
    """What to call, after `arguments` were completed for networks that are laid out for one image size."""
    if name in ("googlenet", "inception_v3"):
        arguments |= {"aux_logits": False, "init_weights": True}
    if name in VIT:
        arguments |= {**VIT[name], "image_size": spec.height, **arguments}
        _refuse_unfit_patches(name, spec, integer(arguments, "patch_size"))
        return vision_transformer.VisionTransformer, ()
    if name == "maxvit_t":
        fixed = dict(MAXVIT) | {"input_size": (spec.height, spec.width)}
        notes: tuple[Fact, ...] = ()
        if "partition_size" not in arguments:
            partition = _partition(spec, len(MAXVIT_CHANNELS))
            notes = (Fact.of("models.partition_size", name, after=partition, pixels=spec.height),) * (partition != 7)
            fixed["partition_size"] = partition
        arguments |= {**fixed, **arguments}
        return maxvit.MaxVit, notes
    return models.get_model_builder(name), ()


def _refuse_unfit_patches(name: str, spec: NetworkSpec, patch: int) -> None:
    if spec.height != spec.width or spec.height % patch:
        lower = max(patch, spec.height // patch * patch)
        msg = gettext(
            "torchvision:{name} cuts patches of {patch} pixels, which {height}×{width} pixels cannot be; "
            "set data.image_size to {lower} or {higher}, or args.patch_size to a divisor of the image size",
            name=name,
            patch=patch,
            height=spec.height,
            width=spec.width,
            lower=lower,
            higher=lower + patch,
        )
        raise ModelError(msg)


def _partition(spec: NetworkSpec, blocks: int) -> int:
    """The largest partition of at most 7 that divides the maps of every block."""
    sides = []
    for side in (spec.height, spec.width):
        for block in range(blocks + 1):
            side = (side + 1) // 2  # a convolution of 3 pixels, stride 2, padding 1
            sides += [side] * (block > 0)
    common = math.gcd(*sides)
    return max(size for size in range(1, 8) if common % size == 0)


def _called(name: str, builder: Callable[..., nn.Module], arguments: dict[str, object]) -> nn.Module:
    try:
        return builder(**arguments)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        msg = gettext(
            "torchvision:{name} cannot be built with {arguments}: {error}; see model.args",
            name=name,
            arguments=arguments,
            error=error,
        )
        raise ModelError(msg) from error


def _pretrained(name: str, settings: ModelSettings, spec: NetworkSpec) -> UnfittedModel:
    weights = str(settings.weights)
    entry = find_weights(name, weights)
    state = download_weights(name, entry)
    arguments = {**settings.args, "num_classes": len(entry.meta["categories"])}
    if name == "maxvit_t":
        arguments.setdefault("partition_size", 7)  # the weights' own
    builder, notes = _builder(name, arguments, spec)
    if name in ("googlenet", "inception_v3"):
        arguments.setdefault("transform_input", True)
        state = {key: value for key, value in state.items() if not key.startswith(("aux1.", "aux2.", "AuxLogits."))}
    if name in VIT and spec.height != entry.meta["min_size"][0]:
        state = vision_transformer.interpolate_embeddings(spec.height, arguments["patch_size"], state)
        notes = (
            *notes,
            Fact.of("models.position_embeddings_interpolated", before=entry.meta["min_size"][0], after=spec.height),
        )
    module = _called(name, builder, arguments)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        msg = gettext(
            "the weights {weights} of torchvision:{name} do not fit args {args} at {height} pixels: {error}",
            weights=weights,
            name=name,
            args=settings.args,
            height=spec.height,
            error=error,
        )
        raise ModelError(msg) from error
    return UnfittedModel(module, len(entry.meta["categories"]), (*notes, *normalisation_facts(entry, spec)))
