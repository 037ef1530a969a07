"""Keys of teachers, starts and stages. A key covers everything that a result depends on, so equal keys mean equal results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from compress.core.environment import versions
from compress.core.registry_field import name_of
from compress.core.run_directory import key_of

if TYPE_CHECKING:
    from compress.config.devices import Device
    from compress.core.stage import OnnxOptions, Stage
    from compress.pipeline.network_plan import NetworkPlan
    from compress.pipeline.plan import Plan

KEY_PACKAGES = ("onnx", "onnxruntime", "onnxscript", "torch-pruning")
"""Packages whose version affects the result of a stage; those of the network are in its key."""


def root_key(plan: Plan) -> dict[str, object]:
    """Inputs that every result of a run depends on: data, task and seed."""
    return {"data": plan.data_key, "task": plan.task.key, "seed": plan.seed}


def teacher_key(parameters: dict[str, object], plan: Plan) -> str:
    """Key of a teacher.

    Args:
        parameters: Its network and training.
        plan: The run.
    """
    return key_of({"teacher": parameters, **root_key(plan)})


def start_key(network: NetworkPlan, teachers: Sequence[str], plan: Plan) -> str:
    """Key of the network to compress.

    Args:
        network: The network.
        teachers: Keys of the teachers.
        plan: The run.
    """
    return key_of({"start": network.key, "teachers": list(teachers), **root_key(plan)})


def stage_key(
    stage: Stage,
    parent: str,
    plan: Plan,
    targets: tuple[Device, ...],
    onnx: OnnxOptions,
    code: Mapping[str, object],
    *,
    smoke: bool = False,
) -> str:
    """Key of a stage.

    Args:
        stage: The stage.
        parent: Key of the stage before it.
        plan: The run; its budget is part of the key if the stage reads it.
        targets: Profiles of the devices that the recipe names.
        onnx: Settings of the ONNX export; the opset is part of the key if the stage reads or writes an exported file.
        code: Hashes of the user's code that the stage runs.
        smoke: Whether it is a smoke run, in which stages skip tests and shorten timings.
    """
    name, parameters = name_of("stage", stage), stage.model_dump(mode="json")
    inputs: dict[str, object] = {
        "versions": {package: version for package, version in versions().items() if package in KEY_PACKAGES},
        **stage.cache_inputs(targets),
        **stage.file_hashes(plan.base),
        **code,
    }
    if onnx.opset is not None and "onnx" in (stage.produces, *stage.accepts):
        inputs["opset"] = onnx.opset
    if stage.reads_budget and plan.budget is not None:
        inputs["budget"] = plan.budget.model_dump(mode="json")
    if smoke:
        inputs["smoke"] = True
    return key_of({"stage": name, "parameters": parameters, "parent": parent, "inputs": inputs})
