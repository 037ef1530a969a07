"""Rows of bench_distillation.py, in the order in which they run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SOFT = 8.0
RESPONSE = ({"response": {"temperature": SOFT, "weight": 0.9}}, {"task": {"weight": 0.1}})
NETWORKS = Path(__file__).with_name("distillation_networks.py")


@dataclass(frozen=True, eq=False)
class Case:
    """One row.

    Attributes:
        section: Heading.
        kind: First column.
        name: Second column.
        distill: Parameters of the stage; None trains alone.
        data: `few` labelled images; `unlabelled`, those and the rest of `many` without labels; `many`, all labelled; `random`,
            `few` under RandAugment.
        student: A function of distillation_networks.py, or a torchvision name.
        teachers: Likewise; a number after a colon is the seed.
        first: Train the student alone before, for whoever teaches as its own parent.
        more: Settings of the training.
    """

    section: str
    kind: str
    name: str
    distill: dict[str, Any] | None
    data: str = "few"
    student: str = "small"
    teachers: tuple[str, ...] = ("teacher",)
    first: bool = False
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """File name."""
        return f"{self.section}-{self.data}-{self.student}-{self.name}".replace(" ", "_").replace("/", "_")


def mostly(name: str, weight: float = 0.9, **parameters: Any) -> dict[str, Any]:
    """A loss in the place of response, beside the hard labels."""
    return {"losses": ({name: {"weight": weight, **parameters}}, {"task": {"weight": 0.1}})}


def besides(name: str, weight: float, **parameters: Any) -> dict[str, Any]:
    """A loss beside response and the hard labels."""
    return {"losses": (*RESPONSE, {name: {"weight": weight, **parameters}})}


def curriculum(**parameters: Any) -> dict[str, Any]:
    """Response under a curriculum."""
    return {"losses": RESPONSE, "curriculum": parameters}


def python(name: str) -> str:
    """Source of a network or function in distillation_networks.py."""
    return f"python:{NETWORKS}:{name}"


PLAIN: dict[str, Any] = {"losses": RESPONSE}
DEEP = [{"student": "1", "teacher": "0"}, {"student": "2", "teacher": "1"}]

LOSSES = {
    "reverse": mostly("reverse", temperature=SOFT),
    "jensen_shannon": mostly("jensen_shannon", 2.0, temperature=SOFT),
    "decoupled": mostly("decoupled", 0.5, temperature=SOFT),
    "dist": mostly("dist", 0.5),
    "logit_standardization": mostly("logit_standardization"),
    "soft_labels": mostly("soft_labels"),
    "label_smoothing (no teacher)": {"losses": ({"label_smoothing": {}},)},
    "virtual_teacher (no teacher)": {"losses": ({"virtual_teacher": {"weight": 0.01}}, "task")},
    "self_distillation_exits (no teacher)": {"losses": ({"self_distillation_exits": {}}, "task")},
}

LOOKING = {
    "hint": besides("hint", 0.5),
    "cosine": besides("cosine", 0.5),
    "direct": besides("direct", 0.5, layers=DEEP),
    "similarity": besides("similarity", 20.0),
    "fsp": besides("fsp", 0.5),
    "attention_transfer": besides("attention_transfer", 2.0),
    "rkd_distance": besides("rkd_distance", 1.0),
    "rkd_angle": besides("rkd_angle", 2.0),
    "contrastive": besides("contrastive", 0.05),
    "contrastive, memory": besides("contrastive", 0.05, memory={"negatives": 2048}),
    "jacobian": besides("jacobian", 0.2),
}

SELVES = {
    "snapshot": {**PLAIN, "teacher": {"snapshot": {"every": 2}}},
    "moving_average": {**PLAIN, "teacher": {"moving_average": {}}},
    "ensemble": {**PLAIN, "teacher": "ensemble"},
    "mutual": {**PLAIN, "teacher": "mutual"},
}

LIGHT = {
    name: {**given, "losses": ({"response": {"temperature": 2.0, "weight": 0.3, "warmup": 0.5}}, {"task": {"weight": 0.7}})}
    for name, given in SELVES.items()
}

CURRICULA = {
    "mine teacher_error": curriculum(mine="teacher_error"),
    "mine student_loss": curriculum(mine="student_loss"),
    "mine disagreement": curriculum(mine="disagreement"),
    "temperature entropy": curriculum(temperature="entropy"),
    "temperature learned": curriculum(temperature="learned"),
    "balance uncertainty": curriculum(balance="uncertainty"),
    "balance gradient_norm": curriculum(balance="gradient_norm"),
    "task warms up": {"losses": (RESPONSE[0], {"task": {"weight": 0.1, "warmup": 0.5}})},
}

MIXED = {
    "mixup": curriculum(mixup=0.2),
    "cutmix": curriculum(cutmix=1.0),
    "erase": curriculum(erase=0.25),
    "FunMatch": {"losses": ({"response": {"temperature": 1.0}},), "curriculum": {"mixup": 1.0}},
}

SEVERAL = ("teacher", "teacher:1", "assistant")


def cases() -> list[Case]:
    """All rows, the cheap and the important first."""
    few, kinds, far = "small CNN, few labels", "students of another kind, few labels", "unlabelled images"
    many, mobile, sight = "small CNN, many labels", "MobileNetV2, few labels", "transformers, few labels"
    soft_alone = {"losses": ({"response": {"temperature": SOFT}},)}
    return [
        Case(few, "", "alone", None),
        Case(few, "loss", "response", PLAIN),
        Case(far, "", "alone, labelled images only", None),
        Case(far, "loss", "response, labelled images only", PLAIN),
        Case(far, "loss", "response, unlabelled images added", PLAIN, data="unlabelled"),
        Case(far, "loss", "response without task, unlabelled images added", soft_alone, data="unlabelled"),
        *(Case(few, "loss", name, given) for name, given in LOSSES.items()),
        Case(few, "teacher", "top 10 classes kept", {**PLAIN, "cache": {"k": 10}}),
        Case(few, "teacher", "one assistant", {**PLAIN, "assistants": (python("assistant"),)}),
        Case(few, "teacher", "born_again", {**PLAIN, "teacher": "born_again"}, first=True),
        *(Case(few, "teacher", name, given) for name, given in SELVES.items()),
        Case(few, "teacher", "soft_label_file", {**PLAIN, "teacher": {"soft_label_file": {"file": "soft.parquet"}}}),
        Case(few, "teacher", "function", {**PLAIN, "teacher": {"function": {"function": python("oracle")}}}),
        *(Case(few, "curriculum", name, given) for name, given in CURRICULA.items()),
        Case(few, "curriculum", "early stopping, patience 2", PLAIN, more={"patience": 2}),
        Case(many, "", "alone", None, data="many"),
        Case(many, "loss", "response", PLAIN, data="many"),
        *(
            Case(kinds, "", name, given, student=student)
            for student in ("perceptron", "recurrent")
            for name, given in ((f"{student} alone", None), (f"{student} response", PLAIN))
        ),
        *(Case(few, "response and", name, given) for name, given in LOOKING.items()),
        Case(mobile, "", "alone", None, student="mobilenet_v2"),
        Case(mobile, "loss", "response", PLAIN, student="mobilenet_v2"),
        *(Case(few, "curriculum", name, given) for name, given in MIXED.items()),
        *(
            Case(few, "teacher", f"three, {how}", {**PLAIN, "teacher": {"teacher": {"combine": how}}}, teachers=SEVERAL)
            for how in ("mean", "confidence", "loss")
        ),
        *(Case(few, "teacher", f"{name}, weight rising to 0.3", given) for name, given in LIGHT.items()),
        Case(few, "", "alone, RandAugment", None, data="random"),
        Case(few, "curriculum", "RandAugment", PLAIN, data="random"),
        *(
            Case(sight, kind, name, given, student="attentive", teachers=("attentive_teacher",))
            for kind, name, given in (
                ("", "alone", None),
                ("loss", "response", PLAIN),
                ("response and", "attention_maps", besides("attention_maps", 0.5)),
                ("response and", "embedding", besides("embedding", 0.5)),
            )
        ),
        *(Case(many, "loss", name, given, data="many") for name, given in LOSSES.items()),
        Case(few, "teacher", "ResNet-18", PLAIN, teachers=("resnet18",)),
    ]
