"""Records that strain a page: long names, much of everything, and classes that differ."""

from typing import Any

from compress.core.class_comparison import ClassChange, ClassComparison, ConfusionChange, Disagreement
from compress.core.fact import Fact
from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.core.verdict import Check, Verdict

LONG = "long_name_without_a_space_" * 12
NAMES = {
    "html": "<script>alert(1)</script><img src=x onerror=alert(2)><b>bold</b>",
    "markdown": "**bold** `code` [link](http://x.example) | cell | # heading",
    "quotes": "\"double\" 'single' `back` &amp; &quot;",
    "right_to_left": "שלום עולם مرحبا \u202eoverride",
    "emoji": "👩🏽‍🚀🦊 model 🏳️‍🌈",
    "escapes": "\x1b[31mred\x1b[0m \x07 \x9b2J",
    "long": LONG,
}
"""Names that a user or a file may give."""


def named(record: RunRecord, name: str) -> RunRecord:
    """The record with this name for its run, a stage, a device, a runtime, a class and a warning."""
    stage = record.stages[0].model_copy(update={"name": name, "warnings": (Fact.of("text", text=name),)})
    rows = tuple(
        row.model_copy(update={"device": name, "runtime": name}) if row.device == "mobile_cpu" else row
        for row in record.stages[4].benchmark_rows
    )
    profile = record.stages[4].model_copy(update={"benchmark_rows": rows, "class_comparison": comparison((name, "b", "c"))})
    return record.model_copy(
        update={
            "name": name,
            "data": {"source": name},
            "spec": record.spec.model_copy(update={"classes": (name, "b", "c")}),
            "stages": (stage, *record.stages[1:4], profile),
            "environment": {"processor": name, "system": name},
        }
    )


def comparison(names: tuple[str, ...]) -> ClassComparison:
    """A comparison of classes with these names."""
    classes = tuple(
        ClassChange(name=name, samples=30, recall_before=0.95, recall=0.95 - 0.05 * index, low=-0.1, high=0.02, f1=0.9)
        for index, name in enumerate(names)
    )
    confusions = (ConfusionChange(name=names[0], predicted=names[-1], before=1, count=4),)
    sample = Disagreement(
        sample=7, name=names[0], before=names[0], before_confidence=0.9, predicted=names[-1], confidence=0.7, image=JPEG
    )
    return ClassComparison(
        reference="teacher", samples=90, equal=0.9, equal_low=0.85, equal_high=0.95, only_reference=5, only_network=2,
        p_value=0.45, class_count=len(names), classes=classes[::-1], confusions=confusions, disagreement_count=9,
        disagreements=(sample,),
    )  # fmt: skip


def overfull(record: RunRecord) -> RunRecord:
    """The record with many limits, devices, warnings and classes."""
    rows = record.stages[4].benchmark_rows
    devices = tuple(
        row.model_copy(update={"device": f"{row.device}_number_{index}_of_a_long_list", "local": False})
        for index in range(3)
        for row in rows
    )
    quantity = Quantity.measured(2.0, "ms", "ONNX Runtime", interval=(1.9, 2.1))
    checks = tuple(
        Check(quantity=quantity, passed=True, name="latency_p50_ms", label="latency", device=row.device, bound=2.05, unit="ms")
        for row in devices
        if row.subject == "artifact"
    )
    warning = Fact.of("text", text="a long warning about what the stage did and did not reach, with numbers and advice; " * 6)
    stages = tuple(stage.model_copy(update={"warnings": (warning, warning)}) for stage in record.stages)
    classes = tuple(f"a_class_with_a_rather_long_name_{index}" for index in range(40))
    last = stages[4].model_copy(update={"benchmark_rows": (*rows, *devices), "class_comparison": comparison(classes)})
    verdict = Verdict(passed=True, checks=(*checks, *(record.verdict.checks if record.verdict else ())))
    return record.model_copy(update={"stages": (*stages[:4], last), "verdict": verdict})


def cut(record: RunRecord) -> RunRecord:
    """The record of a run whose last two stages are missing."""
    names = [stage.name for stage in record.stages]
    recipe: dict[str, Any] = {**record.recipe, "stages": [{name: {}} for name in names]}
    return record.model_copy(update={"recipe": recipe, "stages": record.stages[:3], "verdict": None})


JPEG = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwgIyYnKSopGR8tMC0oMCUoKS"
    "j/wAALCAAIAAgBAREA/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKB"
    "kaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpK"
    "Wmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/9oACAEBAAA/ACv/2Q=="
)
"""A grey square of 8 × 8 pixels."""
