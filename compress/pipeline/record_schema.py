"""JSON schema of `record.json`, with descriptions from the docstrings of the records."""

from __future__ import annotations

from compress.config.json_schema import describe
from compress.core.run_record import FORMAT_VERSION, RunRecord


def record_schema() -> dict[str, object]:
    """JSON schema (draft 2020-12) of the record of a run, in the format that this package writes.

    Older records, which `compress report` reads as well, can have other fields; they have no `format_version`, or a lower one.
    """
    schema = describe(RunRecord, title=f"compress run record, format {FORMAT_VERSION}", examples=())
    return {"$id": f"urn:compress:record:{FORMAT_VERSION}", **{key: schema[key] for key in schema if key != "examples"}}
