"""Records for cards: the example run, and one whose names are hostile."""

import json
from pathlib import Path
from typing import Any

import pytest

from compress.core.run_record import RunRecord
from tests.pipeline.report.conftest import record

__all__ = ["record"]

EXAMPLE = Path(__file__).parents[3] / "reports" / "example" / "record.json"
HOSTILE = (
    "<script>alert('x')</script> | **bold** ```code``` [a](b) \x1b[31m \u202eevil\u202c\n---\n# head 🙂 \ud800 \ufffe"
    + "y" * 300
)


@pytest.fixture(scope="session")
def example() -> RunRecord:
    return RunRecord.load(EXAMPLE)


@pytest.fixture(scope="session")
def hostile(example: RunRecord) -> RunRecord:
    """The example with every name, source and class replaced."""
    text: dict[str, Any] = json.loads(example.model_dump_json())
    text["name"] = text["recipe"]["name"] = text["data"]["source"] = text["environment"]["processor"] = HOSTILE
    text["recipe"]["model"]["source"] = f"python:{HOSTILE}"
    text["recipe_text"] = "# ```\n" + HOSTILE
    text["spec"]["classes"] = [HOSTILE, "no", "1_000", *"34567", "on", "null"]
    text["metric"]["label"] = HOSTILE
    for row in text["stages"][-1]["benchmark_rows"]:
        row["runtime"] = row["quantities"]["latency_p50_ms"]["detail"] = HOSTILE
    return RunRecord.model_validate(text)
