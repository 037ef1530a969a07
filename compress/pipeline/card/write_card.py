"""Write the model card and the bill of materials of a run, both in English."""

from __future__ import annotations

import json
from pathlib import Path

from compress.core.atomic_files import write_text
from compress.core.errors import StoreError
from compress.core.language import gettext, in_language
from compress.pipeline.card.bill_of_materials import bill_of_materials
from compress.pipeline.card.model_card import model_card
from compress.pipeline.read_record import check_artifacts, read_record, record_path

CARD, BILL = "README.md", "bom.cdx.json"
FOLDER = "card"


def write_card(run: Path, out: Path | None = None, *, license_id: str = "", base_model: str = "") -> tuple[Path, Path]:
    """Write `README.md`, a Hugging Face model card, and `bom.cdx.json`, a CycloneDX bill of materials.

    Args:
        run: A run directory, or its record.json.
        out: Output folder; by default `card` beside the record.
        license_id: Licence of the network: an identifier of SPDX, which is that of the hub too, such as `Apache-2.0`.
        base_model: Name on the hub of the network that the run started from.

    Returns:
        The two files.

    Raises:
        StoreError: The record is missing, cannot be read, or its values cannot be written; or a file of the artifact is not
            the one that was measured.
    """
    record = read_record(run)
    check_artifacts(run)
    try:
        with in_language("en"):  # hubs and tools read the files
            bill = bill_of_materials(record, license_id=license_id)
            texts = {
                CARD: model_card(record, license_id=license_id.lower(), base_model=base_model),
                BILL: json.dumps(bill, indent=1, ensure_ascii=False) + "\n",
            }
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # the record may be from elsewhere
        words = " ".join(str(error).split())[:200]
        msg = gettext(
            "no card can be made of the values of {path}: {kind}: {words}",
            path=record_path(run),
            kind=type(error).__name__,
            words=words,
        )
        raise StoreError(msg) from error
    folder = out or record_path(run).parent / FOLDER
    for name, text in texts.items():
        write_text(folder / name, text)
    return folder / CARD, folder / BILL
