"""Reading of a written report, and a record with hostile text."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from compress.core.budget import Budget, check_budget
from compress.core.fact import SKIPPED, Fact
from compress.core.record import Metric, Quantity
from compress.core.run_record import RunRecord
from compress.core.verdict import Check, Verdict

EVIL = "<script>alert('x')</script> | `rm` **bold** $\\frac$ \x1b[2J\u202e \n## heading"


class Reader(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [text or "" for name, text in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader


def malicious(record: RunRecord) -> RunRecord:
    """The record with hostile text in every place that a user or a file name fills."""
    stage = record.stages[0].model_copy(
        update={
            "name": EVIL,
            "notes": (Fact.of("text", text=EVIL),),
            "skipped": (Fact.of(SKIPPED, EVIL, reason=EVIL),),
            "tables": {EVIL: ({EVIL: EVIL, "other": None},)},
            "parameters": {EVIL: EVIL},
            "curves": {EVIL: record.stages[0].curves["loss"].model_copy(update={"y_label": EVIL})},
            "results": {EVIL: Quantity.measured(1.0, EVIL, EVIL)},
        }
    )
    subjects = tuple(row.model_copy(update={"device": EVIL, "runtime": EVIL}) for row in record.stages[4].benchmark_rows[:3])
    profile = record.stages[4].model_copy(update={"benchmark_rows": subjects})
    check = Check(limit=EVIL, allowed=EVIL, quantity=Quantity.missing("W", EVIL), passed=False, explanation=EVIL)
    update: dict[str, Any] = {
        "name": EVIL,
        "recipe_text": f"{EVIL}\n```\n# out of the fence",
        "data": {"source": EVIL},
        "environment": {EVIL: EVIL},
        "notes": (Fact.of("text", text=EVIL),),
        "spec": record.spec.model_copy(update={"classes": (EVIL, "b")}),
        "stages": (stage, *record.stages[1:4], profile),
        "verdict": Verdict(passed=False, checks=(check,)),
    }
    return record.model_copy(update=update)


def without_curves(record: RunRecord) -> RunRecord:
    stages = tuple(stage.model_copy(update={"curves": {}, "tables": {}}) for stage in record.stages)
    return record.model_copy(update={"stages": stages, "teacher": None})


PERPLEXITY = Metric(name="perplexity", label="perplexity", unit="1", higher_is_better=False)
TOKEN_ACCURACY = Metric(name="token_accuracy", label="token accuracy", unit="fraction", higher_is_better=True)


def of_perplexity(record: RunRecord) -> RunRecord:
    """The record of a task whose deciding metric is better when lower and is no fraction, with a second metric."""

    def renamed(value: Any, name: str = "") -> Any:
        if isinstance(value, list):
            return [renamed(item, name) for item in value]
        if not isinstance(value, dict):
            return value
        new = {key.replace("accuracy_drop", "perplexity_rise").replace("accuracy", "perplexity"): key for key in value}
        tree = {key: renamed(value[old], key) for key, old in new.items()}
        if name.startswith(("perplexity", "control_perplexity")) and tree.get("unit") == "fraction":
            tree["unit"] = "1"
        if name == "after" and "perplexity" in tree:
            tree["token_accuracy"] = {"value": 0.6, "unit": "fraction", "how": "measured", "detail": "torch, test split"}
            tree["token_accuracy_validation"] = tree["token_accuracy"]
        return tree

    tree = renamed(json.loads(record.model_copy(update={"verdict": None}).model_dump_json()))
    own = {"recipe_text": "", "metric": PERPLEXITY, "further_metrics": (TOKEN_ACCURACY,)}
    other = RunRecord.model_validate_json(json.dumps(tree)).model_copy(update=own)
    metrics = other.stages[-1].after | {"token_accuracy_drop": Quantity.measured(0.002, "fraction", "of two values")}
    budget = Budget(perplexity_rise=0.5, token_accuracy_drop=0.01)
    return other.model_copy(
        update={"verdict": check_budget(budget, metrics=metrics, rows=(), limited=(PERPLEXITY, TOKEN_ACCURACY))}
    )
