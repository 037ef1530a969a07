"""The record of the committed example."""

from pathlib import Path

import pytest

from compress.core.run_record import RunRecord

EXAMPLE = Path(__file__).parents[3] / "reports" / "example" / "record.json"


@pytest.fixture(scope="session")
def example() -> RunRecord:
    return RunRecord.load(EXAMPLE)


def with_shipped(record: RunRecord, **quantities: object) -> RunRecord:
    """The run with other metrics of what ships."""
    last = record.stages[-1]
    stage = last.model_copy(update={"after": {**last.after, **quantities}})
    return record.model_copy(update={"stages": (*record.stages[:-1], stage)})
