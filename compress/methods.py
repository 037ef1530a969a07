"""THE table: every family, every name that a recipe may use, where it lives, and the paper it is from.

Adding a method is one code file, one test file and one row here. Names are looked up here and nowhere else.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from compress.errors import CompressError, nearest


@dataclass(frozen=True)
class Method:
    """One row.

    Attributes:
        family: What it is one of.
        name: As in a recipe.
        where: `module:attribute`, imported on use.
        source: Paper, specification or library.
    """

    family: str
    name: str
    where: str
    source: str

    def load(self) -> Any:
        """Import what the row points at."""
        module, _, attribute = self.where.partition(":")
        return getattr(importlib.import_module(module), attribute)


METHODS: tuple[Method, ...] = (
    Method("stage", "train", "compress.train.stage:Train", "plain training"),
    Method("stage", "distill", "compress.distill.stage:Distill", "Hinton et al. 2015, arXiv:1503.02531"),
    Method("stage", "distill_data", "compress.distill_data.stage:DistillData", "Wang et al. 2018, arXiv:1811.10959"),
    Method("stage", "prune", "compress.prune.stage:Prune", "Fang et al. 2023, DepGraph, arXiv:2301.12900"),
    Method("stage", "adapt", "compress.adapt.stage:Adapt", "EfficientNet-Lite, -EdgeTPU; Howard et al. 2019, arXiv:1905.02244"),
    Method("stage", "quantize", "compress.quantize.stage:Quantize", "Jacob et al. 2018, arXiv:1712.05877"),
    Method("stage", "export", "compress.export.stage:Export", "ONNX specification"),
    Method("stage", "profile", "compress.profile.stage:Profile", "MLPerf Inference rules"),
    Method("task", "classification", "compress.tasks.classification:Classification", "cross-entropy, top-1"),
    Method("data", "digits", "compress.data.digits:load", "Alpaydin & Kaynak 1998, UCI optical digits, as in scikit-learn"),
    Method("data", "glyphs", "compress.data.glyphs:load", "drawn from the fonts that matplotlib ships"),
    Method("data", "imagefolder", "compress.data.imagefolder:load", "ImageNet's folder layout"),
    Method("data", "cifar10", "compress.data.cifar:load_cifar10", "Krizhevsky 2009"),
    Method("data", "cifar100", "compress.data.cifar:load_cifar100", "Krizhevsky 2009"),
    Method("data", "distilled", "compress.data.distilled:load", "a set that distill_data made"),
    Method("data", "python", "compress.data.user:load", "the user's own function"),
    Method("model", "torchvision", "compress.models.torchvision:build", "torchvision's classification networks"),
    Method("model", "timm", "compress.models.timm:build", "Wightman, PyTorch Image Models"),
    Method("model", "file", "compress.models.file:build", "safetensors, or torch with weights_only"),
    Method("model", "python", "compress.models.user:build", "the user's own function"),
    Method("loss", "response", "compress.distill.response:Response", "Hinton et al. 2015, arXiv:1503.02531"),
    Method("loss", "reverse", "compress.distill.reverse:Reverse", "Gu et al. 2024, MiniLLM, arXiv:2306.08543"),
    Method("loss", "jensen_shannon", "compress.distill.jensen_shannon:JensenShannon", "Agarwal et al. 2024, arXiv:2306.13649"),
    Method("loss", "decoupled", "compress.distill.decoupled:Decoupled", "Zhao et al. 2022, DKD, arXiv:2203.08679"),
    Method("loss", "dist", "compress.distill.dist:Dist", "Huang et al. 2022, DIST, arXiv:2205.10536"),
    Method("loss", "standardised", "compress.distill.standardised:Standardised", "Sun et al. 2024, arXiv:2403.01427"),
    Method("loss", "soft_labels", "compress.distill.soft_labels:SoftLabels", "Ba & Caruana 2014, arXiv:1312.6184"),
    Method("loss", "task", "compress.distill.task:HardLabels", "the task's own loss on hard labels"),
    Method("loss", "label_smoothing", "compress.distill.label_smoothing:LabelSmoothing", "Szegedy 2016, arXiv:1512.00567"),
    Method("loss", "virtual_teacher", "compress.distill.virtual_teacher:VirtualTeacher", "Yuan et al. 2020, arXiv:1909.11723"),
    Method("loss", "branches", "compress.distill.branches:Branches", "Zhang et al. 2019, arXiv:1905.08094"),
    Method("loss", "direct", "compress.distill.features:Direct", "L2 of features as they are"),
    Method("loss", "hint", "compress.distill.features:Hint", "Romero et al. 2015, FitNets, arXiv:1412.6550"),
    Method("loss", "cosine", "compress.distill.features:Cosine", "direction of features"),
    Method("loss", "embedding", "compress.distill.features:Embedding", "Jiao et al. 2020, TinyBERT, arXiv:1909.10351"),
    Method("loss", "similarity", "compress.distill.similarity:Similarity", "Tung & Mori 2019, arXiv:1907.09682"),
    Method("loss", "fsp", "compress.distill.fsp:Fsp", "Yim et al. 2017, CVPR"),
    Method("loss", "attention_transfer", "compress.distill.attention:AttentionTransfer", "Zagoruyko 2017, arXiv:1612.03928"),
    Method("loss", "attention_maps", "compress.distill.attention:AttentionMaps", "Wang et al. 2020, MiniLM, arXiv:2002.10957"),
    Method("loss", "rkd_distance", "compress.distill.relation:RkdDistance", "Park et al. 2019, arXiv:1904.05068"),
    Method("loss", "rkd_angle", "compress.distill.relation:RkdAngle", "Park et al. 2019, arXiv:1904.05068"),
    Method("loss", "contrastive", "compress.distill.contrastive:Contrastive", "Tian et al. 2020, CRD, arXiv:1910.10699"),
    Method("loss", "jacobian", "compress.distill.jacobian:Jacobian", "Srinivas & Fleuret 2018, arXiv:1803.00443"),
    Method("teacher", "teacher", "compress.distill.guides:Given", "the recipe's own; several: arXiv:2201.00007"),
    Method("teacher", "parent", "compress.distill.guides:Parent", "the network that the stage was given"),
    Method("teacher", "snapshot", "compress.distill.guides:Snapshot", "Yang et al. 2019, arXiv:1812.00123"),
    Method("teacher", "moving_average", "compress.distill.guides:MovingAverage", "Tarvainen & Valpola 2017, arXiv:1703.01780"),
    Method("teacher", "ensemble", "compress.distill.guides:Ensemble", "Laine & Aila 2017, arXiv:1610.02242"),
    Method("teacher", "born_again", "compress.distill.guides:BornAgain", "Furlanello et al. 2018, arXiv:1805.04770"),
    Method("teacher", "mutual", "compress.distill.guides:Mutual", "Zhang et al. 2018, arXiv:1706.00384"),
    Method("teacher", "labels", "compress.distill.guides:Labels", "soft labels from a file"),
    Method("teacher", "distilled", "compress.distill.guides:Distilled", "soft labels that a distilled training set brings"),
    Method("teacher", "oracle", "compress.distill.guides:Oracle", "the user's own function"),
    Method(
        "synthesis", "gradient", "compress.distill_data.ways:Gradient", "Zhao et al. 2021, DC, arXiv:2006.05929; 2102.08259"
    ),
    Method("synthesis", "distribution", "compress.distill_data.ways:Distribution", "Zhao & Bilen 2023, arXiv:2110.04181"),
    Method("synthesis", "trajectory", "compress.distill_data.ways:Trajectory", "Cazenavette et al. 2022, arXiv:2203.11932"),
    Method("synthesis", "inversion", "compress.distill_data.ways:Inversion", "Yin et al. 2020, arXiv:1912.08795"),
    Method("synthesis", "herding", "compress.distill_data.ways:Herding", "Welling 2009, ICML; arXiv:1611.07725"),
    Method("synthesis", "random", "compress.distill_data.ways:Random", "the control"),
    Method("granularity", "channel", "compress.prune.channel:Channels", "Fang et al. 2023, DepGraph, arXiv:2301.12900"),
    Method("granularity", "layer", "compress.prune.layer:Layers", "Men et al. 2024, ShortGPT, arXiv:2403.03853"),
    Method("granularity", "weight", "compress.prune.weight:Weights", "Han et al. 2015, arXiv:1506.02626"),
    Method("granularity", "block", "compress.prune.block:blocks", "Narang et al. 2017, arXiv:1711.02782"),
    Method("granularity", "n:m", "compress.prune.nm:Fine", "Mishra et al. 2021, arXiv:2104.08378"),
    Method("importance", "magnitude", "compress.prune.importance.norms:magnitude", "Fang et al. 2023, arXiv:2301.12900"),
    Method("importance", "l1", "compress.prune.importance.norms:l1", "Li et al. 2017, arXiv:1608.08710"),
    Method("importance", "l2", "compress.prune.importance.norms:l2", "He et al. 2018, arXiv:1808.06866"),
    Method("importance", "lamp", "compress.prune.importance.norms:lamp", "Lee et al. 2021, arXiv:2010.07611"),
    Method("importance", "bn_scale", "compress.prune.importance.norms:bn_scale", "Liu et al. 2017, arXiv:1708.06519"),
    Method("importance", "fpgm", "compress.prune.importance.median:fpgm", "He et al. 2019, arXiv:1811.00250"),
    Method("importance", "taylor", "compress.prune.importance.gradients:taylor", "Molchanov et al. 2019, arXiv:1906.10771"),
    Method("importance", "hessian", "compress.prune.importance.gradients:hessian", "LeCun et al. 1989, OBD"),
    Method("importance", "fisher", "compress.prune.importance.fisher:fisher", "Liu et al. 2021, arXiv:2108.00708"),
    Method("importance", "apoz", "compress.prune.importance.activations:apoz", "Hu et al. 2016, arXiv:1607.03250"),
    Method("importance", "activation", "compress.prune.importance.activations:activation", "Molchanov 2017, arXiv:1611.06440"),
    Method("importance", "wanda", "compress.prune.importance.activations:wanda", "Sun et al. 2024, arXiv:2306.11695"),
    Method("importance", "snip", "compress.prune.importance.at_init:snip", "Lee et al. 2019, arXiv:1810.02340"),
    Method("importance", "grasp", "compress.prune.importance.at_init:grasp", "Wang et al. 2020, arXiv:2002.07376"),
    Method("importance", "synflow", "compress.prune.importance.flow:synflow", "Tanaka et al. 2020, arXiv:2006.05467"),
    Method("importance", "random", "compress.prune.importance.control:random", "the control"),
    Method("schedule", "one_shot", "compress.prune.schedule:one_shot", "all at once"),
    Method("schedule", "linear", "compress.prune.schedule:linear", "equal steps"),
    Method("schedule", "cubic", "compress.prune.schedule:cubic", "Zhu & Gupta 2017, arXiv:1710.01878"),
    Method("schedule", "exponential", "compress.prune.schedule:exponential", "the same fraction of what is left"),
    Method("schedule", "guarded", "compress.prune.guarded:following", "Yang et al. 2018, NetAdapt, arXiv:1804.03230"),
    Method("schedule", "lottery", "compress.prune.lottery:rewind", "Frankle & Carbin 2019, arXiv:1803.03635; arXiv:1912.05671"),
    Method("schedule", "set", "compress.prune.dynamic:exchange", "Mocanu et al. 2018, arXiv:1707.04780"),
    Method("schedule", "rigl", "compress.prune.dynamic:exchange", "Evci et al. 2020, arXiv:1911.11134"),
    Method("penalty", "slimming", "compress.prune.regularize:l1", "Liu et al. 2017, arXiv:1708.06519"),
    Method("penalty", "l1", "compress.prune.regularize:l1", "Liu et al. 2015, CVPR"),
    Method("penalty", "group_lasso", "compress.prune.regularize:group_lasso", "Wen et al. 2016, arXiv:1608.03665"),
    Method("penalty", "growing", "compress.prune.growing:growing", "Wang et al. 2021, GReg-1, arXiv:2012.09243"),
    Method("penalty", "growing_all", "compress.prune.growing:stages_of", "Wang et al. 2021, GReg-2, arXiv:2012.09243"),
    Method("kernel", "least_squares", "compress.adapt.depthwise:least_squares", "the old response, fitted"),
    Method("kernel", "crop", "compress.adapt.depthwise:crop", "the middle of the old kernel, rescaled"),
    Method("range", "minmax", "compress.quantize.ranges:minmax", "Jacob et al. 2018, arXiv:1712.05877"),
    Method("range", "moving_average", "compress.quantize.ranges:moving_average", "Jacob et al. 2018, arXiv:1712.05877"),
    Method("range", "mse", "compress.quantize.ranges:mse", "Nagel et al. 2021, arXiv:2106.08295"),
    Method("range", "relative", "compress.quantize.ranges:relative", "Nagel et al. 2021, each sample alike"),
    Method("range", "entropy", "compress.quantize.ranges:entropy", "Migacz 2017, TensorRT calibration"),
    Method("range", "percentile", "compress.quantize.ranges:percentile", "Wu et al. 2020, arXiv:2004.09602"),
    Method("rounding", "nearest", "compress.quantize.grid:nearest", "Jacob et al. 2018, arXiv:1712.05877"),
    Method("rounding", "adaround", "compress.quantize.adaround:adaround", "Nagel et al. 2020, arXiv:2004.10568"),
    Method("rounding", "brecq", "compress.quantize.brecq:brecq", "Li et al. 2021, arXiv:2102.05426"),
    Method("rounding", "gptq", "compress.quantize.gptq:gptq", "Frantar et al. 2023, arXiv:2210.17323"),
    Method("format", "onnx", "compress.export.onnx:write", "ONNX specification"),
    Method("format", "tensorrt", "compress.export.tensorrt:write", "TensorRT Python API and trtexec"),
    Method("runner", "onnxruntime", "compress.profile.runners.onnxruntime:Runner", "ONNX Runtime"),
    Method("runner", "openvino", "compress.profile.runners.openvino:Runner", "OpenVINO"),
    Method("runner", "tensorrt", "compress.profile.runners.tensorrt:Runner", "TensorRT"),
    Method("runner", "torch", "compress.profile.runners.torch:Runner", "PyTorch"),
)


def names(family: str) -> tuple[str, ...]:
    """The names of one family, in table order."""
    return tuple(method.name for method in METHODS if method.family == family)


def find(family: str, name: str) -> Method:
    """Look one row up.

    Raises:
        CompressError: No such name; the message offers the nearest.
    """
    for method in METHODS:
        if method.family == family and method.name == name:
            return method
    msg = f"unknown {family} {name!r}: {nearest(name, names(family))}"
    raise CompressError(msg)


def listed(family: str | None = None) -> tuple[tuple[str, str, str], ...]:
    """Rows of (family, name, source), of one family or of all.

    Raises:
        CompressError: No such family.
    """
    families = tuple(dict.fromkeys(method.family for method in METHODS))
    if family is not None and family not in families:
        msg = f"unknown family {family!r}: {nearest(family, families)}"
        raise CompressError(msg)
    return tuple((row.family, row.name, row.source) for row in METHODS if family in (None, row.family))
