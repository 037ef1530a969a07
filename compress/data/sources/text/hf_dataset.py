"""`hf_dataset:NAME_OR_FOLDER`: data sets of Hugging Face.

A folder is read with pyarrow alone: one that `save_to_disk` of the package `datasets` wrote, or one with the `.parquet` files
of a repository, whose names begin with their split. Any other name is loaded by the package `datasets`, from its cache or the
hub; `NAME:CONFIGURATION` names a configuration, such as `glue:sst2`.
"""

from __future__ import annotations

from compress.core.errors import DataError, MissingPackageError, message_line
from compress.core.language import gettext
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.text.arrow_table import read_files, text_table
from compress.data.sources.text.files import dataset_files
from compress.data.text.build import build_text_data
from compress.data.text.settings import Columns
from compress.data.text.table import TextTable

SPLITS = {"train": ("train",), "val": ("validation", "val", "dev"), "test": ("test",)}


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Read the splits; missing ones are held out from the training texts.

    Test splits whose targets are all hidden, as those of GLUE, are left out.

    Raises:
        DataError: No such data set, damaged files, columns that do not exist.
        MissingPackageError: pyarrow, datasets or tokenizers is not installed.
    """
    path = origin.path
    if path.is_dir():
        tables = {split: read_files(files, settings.columns) for split, files in dataset_files(path).items()}
    else:
        tables = _from_hub(origin.argument, settings.columns)
    hidden = [
        name for name, table in tables.items() if name != "train" and table.targets and not any(map(_is_known, table.targets))
    ]
    return build_text_data({name: table for name, table in tables.items() if name not in hidden}, settings, origin)


def _is_known(target: object) -> bool:
    return target is not None


def _from_hub(name: str, columns: Columns) -> dict[str, TextTable]:
    try:
        import datasets
    except ImportError as error:
        raise MissingPackageError("datasets", "hf", gettext("the data set {name} of the hub", name=name)) from error
    try:
        loaded = datasets.load_dataset(*name.split(":"))
    except Exception as error:  # datasets and its hub raise errors of many kinds
        msg = gettext(
            "there is no folder {name}, and the hub gives no such data set ({reason}); without a network, give a folder that "
            "save_to_disk wrote",
            name=name,
            reason=message_line(error),
        )
        raise DataError(msg) from error
    tables = {}
    for split, names in SPLITS.items():
        for given in names:
            if given in loaded and split not in tables:
                part = loaded[given]
                classes = {key: feature.names for key, feature in part.features.items() if getattr(feature, "names", None)}
                tables[split] = text_table(part.to_dict(), classes, columns, f"{name} {given}")
    if "train" not in tables:
        msg = gettext("{name} has no training split; it has {splits}", name=name, splits=", ".join(map(str, loaded)))
        raise DataError(msg)
    return tables
