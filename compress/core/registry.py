"""Registry: every method that a recipe may name, by family, with the place of its code and its source.

`ENTRIES` is the only list of the methods that come with `compress`; every other list of names (validation, JSON schema,
`compress methods`) follows from it. A new method is one code file, one test file and one row here. Rows can also come from

- another package: an entry point of the group `compress.methods`, named `family.name`, that points at the method itself or at
  an `Entry` that describes it;
- a recipe, for code of the user's own: `python:FILE.py:NAME` as a method's name, where `--trust-code` is given;
- a running program: `add`, or `temporary` for the length of a `with` block.

Nothing is imported before a row is used.
"""

from __future__ import annotations

from compress.core.registry_entry import Entry, Registry

__all__ = ["ENTRIES", "REGISTRY", "Entry", "add", "entries", "lookup", "names", "temporary"]

SMALLER_NETWORK = {"measures": ("macs", "params", "bytes", "latency", "latency_ms"), "max_ratio": 0.9, "structured": True}
ZEROED_WEIGHTS = {"measures": ("sparsity", "params", "bytes"), "max_ratio": 0.99}
DROP_AND_GROW = {
    "parameters": {"update_every": 100, "drop_fraction": 0.3, "end_fraction": 0.75},
    "curve": "one_shot",
    "granularities": ("weight",),
    "single_step": True,
    "exchanges": True,
    "trains": True,
}

# fmt: off
ENTRIES: tuple[Entry, ...] = (
    Entry("stage", "train", "compress.train.stage:Train", "plain training"),
    Entry("stage", "distill", "compress.distill.stage:Distill", "Hinton et al. 2015, arXiv:1503.02531"),
    Entry("stage", "dataset_distillation", "compress.dataset_distillation.stage:DatasetDistillation",
          "Wang et al. 2018, arXiv:1811.10959"),
    Entry("stage", "prune", "compress.prune.stage:Prune", "Fang et al. 2023, DepGraph, arXiv:2301.12900"),
    Entry("stage", "substitute", "compress.substitute.stage:Substitute",
          "EfficientNet-Lite, -EdgeTPU; Howard et al. 2019, arXiv:1905.02244"),
    Entry("stage", "quantize", "compress.quantize.stage:Quantize", "Jacob et al. 2018, arXiv:1712.05877"),
    Entry("stage", "export", "compress.export.stage:Export", "ONNX specification"),
    Entry("stage", "profile", "compress.profile.stage:Profile", "MLPerf Inference rules"),

    Entry("task", "classification", "compress.tasks.classification:Classification", "cross-entropy, top-1"),
    Entry("task", "segmentation", "compress.tasks.segmentation:Segmentation", "cross-entropy of pixels, mean IoU"),

    Entry("data", "digits", "compress.data.sources.digits:load",
          "Alpaydin & Kaynak 1998, UCI optical digits, as in scikit-learn"),
    Entry("data", "glyphs", "compress.data.sources.glyphs:load", "drawn from the fonts that matplotlib ships"),
    Entry("data", "imagefolder", "compress.data.sources.imagefolder:load", "ImageNet's folder layout", {"argument": "PATH"}),
    Entry("data", "masks", "compress.data.sources.segmentation.masks:load",
          "images and masks of class numbers, as in Pascal VOC", {"argument": "PATH"}),
    Entry("data", "shapes_masks", "compress.data.sources.segmentation.shapes_masks:load",
          "drawn shapes and characters with exact masks"),
    Entry("data", "cifar10", "compress.data.sources.cifar:load_cifar10", "Krizhevsky 2009"),
    Entry("data", "cifar100", "compress.data.sources.cifar:load_cifar100", "Krizhevsky 2009"),
    Entry("data", "distilled", "compress.data.sources.distilled_set:load", "a set that dataset_distillation made",
          {"argument": "PATH"}),
    Entry("data", "python", "compress.data.sources.python_function:load", "the user's own function",
          {"argument": "FILE.py:FUNCTION"}),

    Entry("model", "torchvision", "compress.models.sources.torchvision:build", "torchvision's classification networks"),
    Entry("model", "timm", "compress.models.sources.timm:build", "Wightman, PyTorch Image Models"),
    Entry("model", "file", "compress.models.sources.weights_file:build", "safetensors, or torch with weights_only"),
    Entry("model", "python", "compress.models.sources.python_function:build", "the user's own function"),

    Entry("loss", "response", "compress.distill.losses.response:Response", "Hinton et al. 2015, arXiv:1503.02531"),
    Entry("loss", "reverse", "compress.distill.losses.reverse_kl:ReverseKL", "Gu et al. 2024, MiniLLM, arXiv:2306.08543"),
    Entry("loss", "jensen_shannon", "compress.distill.losses.jensen_shannon:JensenShannon",
          "Agarwal et al. 2024, arXiv:2306.13649"),
    Entry("loss", "decoupled", "compress.distill.losses.dkd:Dkd", "Zhao et al. 2022, DKD, arXiv:2203.08679"),
    Entry("loss", "dist", "compress.distill.losses.dist:Dist", "Huang et al. 2022, DIST, arXiv:2205.10536"),
    Entry("loss", "logit_standardization", "compress.distill.losses.logit_standardization:LogitStandardization",
          "Sun et al. 2024, arXiv:2403.01427"),
    Entry("loss", "soft_labels", "compress.distill.losses.soft_labels:SoftLabels", "Ba & Caruana 2014, arXiv:1312.6184"),
    Entry("loss", "squared_error", "compress.distill.losses.squared_error:SquaredError", "Ba & Caruana 2014, arXiv:1312.6184"),
    Entry("loss", "task", "compress.distill.losses.hard_labels:HardLabels", "the task's own loss on hard labels"),
    Entry("loss", "label_smoothing", "compress.distill.losses.label_smoothing:LabelSmoothing",
          "Szegedy 2016, arXiv:1512.00567"),
    Entry("loss", "virtual_teacher", "compress.distill.losses.virtual_teacher:VirtualTeacher",
          "Yuan et al. 2020, arXiv:1909.11723"),
    Entry("loss", "self_distillation_exits", "compress.distill.losses.self_distillation_exits:SelfDistillationExits",
          "Zhang et al. 2019, arXiv:1905.08094"),
    Entry("loss", "direct", "compress.distill.losses.features:Direct", "L2 of features as they are"),
    Entry("loss", "hint", "compress.distill.losses.features:Hint", "Romero et al. 2015, FitNets, arXiv:1412.6550"),
    Entry("loss", "cosine", "compress.distill.losses.features:Cosine", "direction of features"),
    Entry("loss", "embedding", "compress.distill.losses.features:Embedding", "Jiao et al. 2020, TinyBERT, arXiv:1909.10351"),
    Entry("loss", "similarity", "compress.distill.losses.similarity:Similarity", "Tung & Mori 2019, arXiv:1907.09682"),
    Entry("loss", "fsp", "compress.distill.losses.fsp:Fsp", "Yim et al. 2017, CVPR"),
    Entry("loss", "channel_wise", "compress.distill.losses.channel_wise:ChannelWise", "Shu et al. 2021, arXiv:2011.13256"),
    Entry("loss", "attention_transfer", "compress.distill.losses.attention:AttentionTransfer",
          "Zagoruyko 2017, arXiv:1612.03928"),
    Entry("loss", "attention_maps", "compress.distill.losses.attention:AttentionMaps",
          "Wang et al. 2020, MiniLM, arXiv:2002.10957"),
    Entry("loss", "rkd_distance", "compress.distill.losses.rkd:RkdDistance", "Park et al. 2019, arXiv:1904.05068"),
    Entry("loss", "rkd_angle", "compress.distill.losses.rkd:RkdAngle", "Park et al. 2019, arXiv:1904.05068"),
    Entry("loss", "contrastive", "compress.distill.losses.contrastive:Contrastive", "Tian et al. 2020, CRD, arXiv:1910.10699"),
    Entry("loss", "jacobian", "compress.distill.losses.jacobian:Jacobian", "Srinivas & Fleuret 2018, arXiv:1803.00443"),

    Entry("teacher", "teacher", "compress.distill.teachers.settings:RecipeTeacher",
          "the recipe's own; several: arXiv:2201.00007"),
    Entry("teacher", "parent", "compress.distill.teachers.settings:ParentTeacher", "the network that the stage was given"),
    Entry("teacher", "snapshot", "compress.distill.teachers.settings:StudentSnapshot", "Yang et al. 2019, arXiv:1812.00123"),
    Entry("teacher", "moving_average", "compress.distill.teachers.settings:MovingAverage",
          "Tarvainen & Valpola 2017, arXiv:1703.01780"),
    Entry("teacher", "ensemble", "compress.distill.teachers.settings:TemporalEnsemble", "Laine & Aila 2017, arXiv:1610.02242"),
    Entry("teacher", "born_again", "compress.distill.teachers.settings:BornAgain", "Furlanello et al. 2018, arXiv:1805.04770"),
    Entry("teacher", "mutual", "compress.distill.teachers.settings:PeerTeachers", "Zhang et al. 2018, arXiv:1706.00384"),
    Entry("teacher", "soft_label_file", "compress.distill.teachers.settings:SoftLabelFile", "soft labels from a file"),
    Entry("teacher", "distilled", "compress.distill.teachers.settings:DistilledSetLabels",
          "soft labels of a distilled training set"),
    Entry("teacher", "function", "compress.distill.teachers.settings:FunctionTeacher", "the user's own function"),

    Entry("synthesis", "gradient", "compress.dataset_distillation.gradient_matching:GradientMatching",
          "Zhao et al. 2021, DC, arXiv:2006.05929; 2102.08259"),
    Entry("synthesis", "distribution", "compress.dataset_distillation.distribution_matching:DistributionMatching",
          "Zhao & Bilen 2023, arXiv:2110.04181"),
    Entry("synthesis", "trajectory", "compress.dataset_distillation.trajectory_matching:TrajectoryMatching",
          "Cazenavette et al. 2022, arXiv:2203.11932"),
    Entry("synthesis", "inversion", "compress.dataset_distillation.deep_inversion:DeepInversion",
          "Yin et al. 2020, arXiv:1912.08795"),
    Entry("synthesis", "herding", "compress.dataset_distillation.coreset:Herding",
          "Welling 2009, ICML; arXiv:1611.07725"),
    Entry("synthesis", "random", "compress.dataset_distillation.coreset:RandomSubset", "the control"),

    Entry("granularity", "channel", "compress.prune.structured.channels:ChannelPruner",
          "Fang et al. 2023, DepGraph, arXiv:2301.12900", SMALLER_NETWORK),
    Entry("granularity", "layer", "compress.prune.structured.depth:BlockPruner",
          "Men et al. 2024, ShortGPT, arXiv:2403.03853", SMALLER_NETWORK),
    Entry("granularity", "weight", "compress.prune.unstructured.weights:UnstructuredPruner",
          "Han et al. 2015, arXiv:1506.02626", ZEROED_WEIGHTS),
    Entry("granularity", "block", "compress.prune.unstructured.weights:block_pruner",
          "Narang et al. 2017, arXiv:1711.02782", ZEROED_WEIGHTS),
    Entry("granularity", "n:m", "compress.prune.unstructured.n_m:NMPruner",
          "Mishra et al. 2021, arXiv:2104.08378", {"measures": ("sparsity",), "max_ratio": 1.0}),

    Entry("importance", "magnitude", "compress.prune.criteria.norms:magnitude",
          "Fang et al. 2023, arXiv:2301.12900", {"magnitude": True}),
    Entry("importance", "l1", "compress.prune.criteria.norms:l1", "Li et al. 2017, arXiv:1608.08710", {"magnitude": True}),
    Entry("importance", "l2", "compress.prune.criteria.norms:l2", "He et al. 2018, arXiv:1808.06866", {"magnitude": True}),
    Entry("importance", "lamp", "compress.prune.criteria.norms:lamp", "Lee et al. 2021, arXiv:2010.07611"),
    Entry("importance", "bn_scale", "compress.prune.criteria.norms:bn_scale",
          "Liu et al. 2017, arXiv:1708.06519", {"scores": ("channels",)}),
    Entry("importance", "fpgm", "compress.prune.criteria.norms:fpgm",
          "He et al. 2019, arXiv:1811.00250", {"scores": ("channels",)}),
    Entry("importance", "taylor", "compress.prune.criteria.gradients:taylor",
          "Molchanov et al. 2019, arXiv:1906.10771", {"loss_change": True}),
    Entry("importance", "hessian", "compress.prune.criteria.gradients:hessian",
          "LeCun et al. 1989, OBD", {"loss_change": True}),
    Entry("importance", "fisher", "compress.prune.criteria.fisher:fisher",
          "Liu et al. 2021, arXiv:2108.00708", {"scores": ("channels",), "loss_change": True}),
    Entry("importance", "apoz", "compress.prune.criteria.activations:apoz",
          "Hu et al. 2016, arXiv:1607.03250", {"scores": ("channels",)}),
    Entry("importance", "activation", "compress.prune.criteria.activations:activation",
          "Molchanov 2017, arXiv:1611.06440", {"scores": ("channels",)}),
    Entry("importance", "wanda", "compress.prune.criteria.activations:wanda", "Sun et al. 2024, arXiv:2306.11695"),
    Entry("importance", "snip", "compress.prune.criteria.at_init:snip",
          "Lee et al. 2019, arXiv:1810.02340", {"scores": ("weights",)}),
    Entry("importance", "grasp", "compress.prune.criteria.at_init:grasp",
          "Wang et al. 2020, arXiv:2002.07376", {"scores": ("weights",)}),
    Entry("importance", "synflow", "compress.prune.criteria.synflow:synflow",
          "Tanaka et al. 2020, arXiv:2006.05467", {"scores": ("weights",)}),
    Entry("importance", "random", "compress.prune.criteria.norms:random", "the control"),

    Entry("schedule", "one_shot", "compress.prune.schedules:one_shot", "all at once", {"single_step": True}),
    Entry("schedule", "linear", "compress.prune.schedules:linear", "equal steps"),
    Entry("schedule", "cubic", "compress.prune.schedules:cubic", "Zhu & Gupta 2017, arXiv:1710.01878"),
    Entry("schedule", "exponential", "compress.prune.schedules:exponential", "the same fraction of what is left"),
    Entry("schedule", "accuracy_aware", "compress.prune.schedules:next_ratio",
          "Yang et al. 2018, NetAdapt, arXiv:1804.03230", {"parameters": {"drop": 0.01, "retries": 2}}),
    Entry("schedule", "lottery", "compress.prune.unstructured.lottery_ticket:rewind",
          "Frankle & Carbin 2019, arXiv:1803.03635; arXiv:1912.05671",
          {"parameters": {"rewind": 0}, "curve": "exponential", "granularities": ("weight", "block"), "trains": True}),
    Entry("schedule", "set", "compress.prune.unstructured.dynamic_sparse_training:drop_and_grow",
          "Mocanu et al. 2018, arXiv:1707.04780", DROP_AND_GROW),
    Entry("schedule", "rigl", "compress.prune.unstructured.dynamic_sparse_training:drop_and_grow",
          "Evci et al. 2020, arXiv:1911.11134", DROP_AND_GROW),

    Entry("penalty", "slimming", "compress.prune.sparse_training.penalties:l1",
          "Liu et al. 2017, arXiv:1708.06519", {"structured": True, "acts_on": "batch norm"}),
    Entry("penalty", "l1", "compress.prune.sparse_training.penalties:l1", "Liu et al. 2015, CVPR"),
    Entry("penalty", "group_lasso", "compress.prune.sparse_training.penalties:group_lasso",
          "Wen et al. 2016, arXiv:1608.03665", {"structured": True, "acts_on": "filters"}),
    Entry("penalty", "greg1", "compress.prune.sparse_training.greg:masked_l2",
          "Wang et al. 2021, GReg-1, arXiv:2012.09243", {"grows": True}),
    Entry("penalty", "greg2", "compress.prune.sparse_training.greg:greg2",
          "Wang et al. 2021, GReg-2, arXiv:2012.09243", {"grows": True, "picks": True}),

    Entry("kernel", "least_squares", "compress.substitute.depthwise:least_squares", "the old response, fitted"),
    Entry("kernel", "crop", "compress.substitute.depthwise:scaled_center_crop", "the middle of the old kernel, rescaled"),

    Entry("range", "minmax", "compress.quantize.calibration.range_estimators:minmax", "Jacob et al. 2018, arXiv:1712.05877",
          {"observes": "extremes"}),
    Entry("range", "moving_average", "compress.quantize.calibration.range_estimators:moving_average",
          "Jacob et al. 2018, arXiv:1712.05877", {"observes": "extremes"}),
    Entry("range", "mse", "compress.quantize.calibration.range_estimators:mse", "Nagel et al. 2021, arXiv:2106.08295"),
    Entry("range", "sample_normalized_mse", "compress.quantize.calibration.range_estimators:sample_normalized_mse",
          "Nagel et al. 2021, arXiv:2106.08295, with each sample divided by its energy",
          {"observes": "normalized histogram"}),
    Entry("range", "entropy", "compress.quantize.calibration.range_estimators:entropy",
          "Migacz 2017, TensorRT calibration, as in ONNX Runtime"),
    Entry("range", "percentile", "compress.quantize.calibration.range_estimators:percentile",
          "Wu et al. 2020, arXiv:2004.09602"),

    Entry("ptq_pass", "equalize", "compress.quantize.ptq.cross_layer_equalization:equalize_network",
          "Nagel et al. 2019, arXiv:1906.04721"),
    Entry("ptq_pass", "smooth", "compress.quantize.ptq.smoothquant_residual:smooth_network",
          "Xiao et al. 2023, SmoothQuant, arXiv:2211.10438"),

    Entry("rounding", "nearest", "compress.quantize.ptq.quantized_weight:round_to_nearest",
          "Jacob et al. 2018, arXiv:1712.05877"),
    Entry("rounding", "adaround", "compress.quantize.ptq.adaround:adaround",
          "Nagel et al. 2020, arXiv:2004.10568", {"iterative": True}),
    Entry("rounding", "brecq", "compress.quantize.ptq.block_reconstruction:round_by_blocks",
          "Li et al. 2021, arXiv:2102.05426",
          {"iterative": True, "blockwise": True, "requires": ("class_rows", "row_per_sample")}),
    Entry("rounding", "gptq", "compress.quantize.ptq.gptq:round_layer", "Frantar et al. 2023, arXiv:2210.17323"),

    Entry("bias_correction", "none", "compress.quantize.ptq.bias_correction:no_shift", "biases stay"),
    Entry("bias_correction", "analytic", "compress.quantize.ptq.bias_correction:analytic_shift",
          "Nagel et al. 2019, arXiv:1906.04721, section 4.2"),
    Entry("bias_correction", "empirical", "compress.quantize.ptq.bias_correction:empirical_shift",
          "Nagel et al. 2019, arXiv:1906.04721, appendix D"),

    Entry("format", "onnx", "compress.export.ship_onnx:write", "ONNX specification"),
    Entry("format", "tensorrt", "compress.export.tensorrt_build_script:write", "TensorRT Python API and trtexec"),

    Entry("runner", "onnxruntime", "compress.backends.onnxruntime_runner:OnnxRuntimeRunner", "ONNX Runtime",
          {"format": "onnx", "own_profile": True, "providers": True}),
    Entry("runner", "openvino", "compress.backends.openvino_runner:OpenVinoRunner", "OpenVINO", {"format": "onnx"}),
    Entry("runner", "tensorrt", "compress.backends.tensorrt_runner:TensorRTRunner", "TensorRT",
          {"format": "tensorrt", "own_profile": True}),
    Entry("runner", "torch", "compress.backends.torch_runner:TorchRunner", "PyTorch"),

    Entry("power_sensor", "rapl", "compress.profile.power.rapl:Rapl", "David et al. 2010, RAPL, ISLPED; Linux powercap"),
    Entry("power_sensor", "ina3221", "compress.profile.power.jetson_ina3221:Ina3221", "Linux hwmon, ina3221"),
    Entry("power_sensor", "tegrastats", "compress.profile.power.jetson_tegrastats:Tegrastats", "Jetson Linux, tegrastats"),
    Entry("power_sensor", "nvml", "compress.profile.power.nvml:Nvml", "NVIDIA NVML, nvidia-ml-py"),
    Entry("power_sensor", "battery", "compress.profile.power.battery:Battery", "Linux sysfs, power_supply"),
    Entry("report_section", "verdict", "compress.pipeline.report.sections:verdict", "limits of the budget"),
    Entry("report_section", "points_for_review", "compress.pipeline.report.sections:points_for_review", "warnings"),
    Entry("report_section", "before_and_after", "compress.pipeline.report.sections:before_and_after", "teacher to artifact"),
    Entry("report_section", "stage_by_stage", "compress.pipeline.report.sections:stage_by_stage", "metrics by stage"),
    Entry("report_section", "devices", "compress.pipeline.report.sections:devices", "measurements by device"),
    Entry("report_section", "stages", "compress.pipeline.report.sections:stages", "details by stage"),
    Entry("report_section", "reproduction", "compress.pipeline.report.sections:reproduction", "versions, seeds, recipe"),
    Entry("report_section", "numbers", "compress.pipeline.report.sections:numbers", "meaning of signs and intervals"),
)
# fmt: on

REGISTRY = Registry(ENTRIES)
add = REGISTRY.add
entries = REGISTRY.entries
lookup = REGISTRY.lookup
names = REGISTRY.names
temporary = REGISTRY.temporary
