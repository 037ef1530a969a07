"""`Data`: the three splits of a data set, and the input specification of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec, Resize
from compress.data.batch import Split
from compress.data.settings import DataSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer
    from torch.utils.data import DataLoader

    from compress.core.signature import Signature
    from compress.data.text.from_texts import Sample
    from compress.data.text.settings import Targets, TrainedTokenizer
    from compress.tasks.base import Task


@dataclass(frozen=True)
class Data:
    """Three disjoint splits, and the specification of the network for them.

    Attributes:
        spec: Input shape, normalisation and class names.
        train: For the training of weights.
        validation: For all decisions: best checkpoint, early stopping, ratios, calibration choices.
        test: For the metrics in the report, used after all decisions.
        source: The source string of the recipe, or `python` for loaders of the user.
        skipped: Skipped files with reasons.
        warnings: Reasons why metrics are wrong or undefined: samples in two splits, classes without samples.
        settings: Settings of the source; None for loaders of the user.
        groups: Group of each test sample, such as its speaker or camera, for figures of each group; empty text for a sample of
            no group, and no groups for data without them.
        files: Contents of files that an artifact needs beside its network, by name, such as `tokenizer.json`.
    """

    spec: NetworkSpec
    train: Split
    validation: Split
    test: Split
    source: str = "python"
    skipped: tuple[Fact, ...] = ()
    warnings: tuple[Fact, ...] = ()
    settings: DataSettings | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    groups: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(map(str, self.groups)))
        if self.groups and len(self.groups) != len(self.test):
            msg = gettext(
                "groups has {groups} entries, and the test split has {samples} samples; give the group of each test sample, "
                "in the order of the split",
                groups=len(self.groups),
                samples=len(self.test),
            )
            raise DataError(msg)

    @staticmethod
    def from_texts(  # public API: each keyword is one fact about the texts
        train: Sequence[Sample],
        validation: Sequence[Sample],
        test: Sequence[Sample],
        *,
        tokenizer: Tokenizer | TrainedTokenizer | str | Path,
        targets: Targets = "classes",
        names: Sequence[str] = (),
        typical: int = 64,
        most: int = 512,
        groups: Sequence[str] = (),
    ) -> Data:
        """Encode three lists of texts.

        A sample is a text, `(text, target)`, or `(text, text, target)`, in all lists alike. A target is a class (a name or a
        number), a list of classes, or a value.

        Args:
            train: Training texts.
            validation: Texts for all decisions.
            test: Texts for the final metrics.
            tokenizer: Of the package `tokenizers`; a folder with `tokenizer.json`, the file, or a name on the hub; or
                `TrainedTokenizer(train="wordpiece", vocabulary=8000)`, which is trained on the training texts.
            targets: `classes`, one for each text; `labels`, any number of classes; `values`, real numbers.
            names: Names of the values, for `values`.
            typical: Length in tokens that is served most, for examples and timings.
            most: Longest sequence in tokens; longer texts are cut.
            groups: Group of each test text, see `Data`; none for no figures of groups.

        Raises:
            DataError: Too few texts, samples of several forms, targets that do not fit.
            MissingPackageError: tokenizers is not installed.
        """
        from compress.data.text.from_texts import parts_of_texts
        from compress.data.text.settings import Lengths

        lengths = Lengths(typical=min(typical, most), most=most)
        parts = parts_of_texts((train, validation, test), tokenizer, targets, names, lengths)
        first, second, third = parts.splits
        return Data(parts.spec, first, second, third, warnings=parts.facts, files=parts.files, groups=groups)

    @staticmethod
    def from_loaders(  # public API: each keyword is one fact about the data that loaders do not tell
        train: DataLoader[object],
        validation: DataLoader[object],
        test: DataLoader[object],
        *,
        classes: Sequence[str] = (),
        task: str | Task = "classification",
        signature: Signature | Sequence[str] | None = None,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        resize: Resize | None = None,
        groups: Sequence[str] = (),
    ) -> Data:
        """Wrap three loaders.

        A batch is (inputs, targets), each a tensor, a tuple or a mapping; or a flat tuple of all inputs and then all targets;
        or a mapping or an object with named attributes (`image` and `label`, `pixel_values` and `labels`, or the names of the
        signature and of the task's targets). Without `signature` the input is one image, float (N, C, H, W), normalised. Since
        a loader's augmentation is not known, teacher logits are not cached. An epoch draws from torch's global generator as the
        loader does, started from the run's seed, so a run repeats itself if the loader has no other source of randomness.

        Args:
            train: Training loader, with its own shuffling, augmentation and batch size.
            validation: Loader for all decisions.
            test: Loader for the final metrics.
            classes: Class names in the order of the targets; for `regression` the names of the values.
            task: Task, which defines the targets: a name of `compress methods task`, or an object of your own class.
            signature: Names of the inputs in the order in which the network takes them, whose types and shapes are those of the
                samples; or a `Signature`, which samples must fit and which may have free axes with sizes.
            mean: Mean per channel that the loaders subtract from pixels in [0, 1]; part of the artifact.
            std: Standard deviation per channel that the loaders divide by.
            resize: How the validation and test loaders scale images to the input, see
                `compress.data.decode_image.resize_image`; `infer.py` does the same. None: it is found by comparison where the
                test loader's dataset lists its image files, as torchvision's `ImageFolder` does; else `squash` is assumed.
            groups: Group of each sample of the test loader, see `Data`; none for no figures of groups.

        Raises:
            DataError: A loader has no length, or yields something else.
        """
        from compress.core.registry import lookup
        from compress.data.loader_spec import Normalization, read_loaders

        loaders = {"train": train, "validation": validation, "test": test}
        kind: Task = lookup("task", task).load()() if isinstance(task, str) else task
        spec, splits, facts = read_loaders(loaders, kind, classes, signature, Normalization(mean, std, resize))
        return Data(spec, splits[0], splits[1], splits[2], warnings=facts, groups=groups)
