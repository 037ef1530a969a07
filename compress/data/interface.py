"""`Data`: the three splits of a data set, and the input specification that the network must meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compress.core.fact import Fact
from compress.core.network_spec import NetworkSpec, Resize
from compress.data.batch import Split
from compress.data.settings import DataSettings

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from compress.core.signature import Signature
    from compress.tasks.base import Task


@dataclass(frozen=True)
class Data:
    """Three splits kept apart, and what the network must know of them.

    Attributes:
        spec: Input shape, normalisation and class names.
        train: For weights.
        validation: For every decision: best checkpoint, early stopping, ratios, calibration choices.
        test: For the figures in the report, looked at after all decisions.
        source: The recipe's source string, or `python` for a user's own loaders.
        skipped: Files left out, with reasons.
        warnings: What makes figures wrong or empty: samples in two splits, classes without samples.
        settings: What it was read with; None for a user's own loaders.
    """

    spec: NetworkSpec
    train: Split
    validation: Split
    test: Split
    source: str = "python"
    skipped: tuple[Fact, ...] = ()
    warnings: tuple[Fact, ...] = ()
    settings: DataSettings | None = None

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
    ) -> Data:
        """Wrap three loaders.

        A batch is (inputs, targets), each a tensor, a tuple or a mapping; or a flat tuple of all inputs and then all targets;
        or a mapping or an object with named attributes (`image` and `label`, `pixel_values` and `labels`, or the names of the
        signature and of the task's targets). Without `signature` the input is one image, float (N, C, H, W), normalised. Since
        a loader's augmentation is not known, teacher logits are not cached. An epoch draws from torch's global generator as the
        loader does, started from the run's seed, so a run repeats itself if the loader has no other source of randomness.

        Args:
            train: Shuffles and augments in its own way; the batch size is its own.
            validation: For every decision.
            test: For the final figures.
            classes: Class names in the order of the targets; for `regression` the names of the values.
            task: Says what the targets are: a name of `compress methods task`, or an object of your own class.
            signature: Names of the inputs in the order in which the network takes them, whose types and shapes are those of the
                samples; or a `Signature`, which samples must fit and which may have free axes with sizes.
            mean: What the loaders subtracted from pixels in [0, 1], per channel; written into the artifact.
            std: What they divided by.
            resize: How the validation and test loaders scale images to the input, see
                `compress.data.decode_image.resize_image`; `infer.py` does the same. None: it is found by comparison where the
                test loader's dataset lists its image files, as torchvision's `ImageFolder` does; else `squash` is assumed.

        Raises:
            DataError: A loader has no length, or yields something else.
        """
        from compress.core.registry import lookup
        from compress.data.loader_spec import Normalization, read_loaders

        loaders = {"train": train, "validation": validation, "test": test}
        kind: Task = lookup("task", task).load()() if isinstance(task, str) else task
        spec, splits, facts = read_loaders(loaders, kind, classes, signature, Normalization(mean, std, resize))
        return Data(spec, splits[0], splits[1], splits[2], warnings=facts)
