"""Comparison of the classes that two networks give the same test samples: by class, by confusion, and by sample.

It is part of the record of a stage, so that a report shows it without the networks and the data. Its lists are bounded.
"""

from __future__ import annotations

from compress.core.frozen_model import FrozenModel


class ClassChange(FrozenModel):
    """One class in both networks.

    Attributes:
        name: Of the class.
        samples: Number of test samples of the class.
        recall_before: Share of them that the reference classifies correctly.
        recall: Share that the network classifies correctly.
        low: Lower end of the paired 95 % interval of `recall` less `recall_before`.
        high: Upper end.
        f1_before: 2 · precision · recall / (precision + recall) of the reference; None where neither is defined.
        f1: Likewise of the network.
    """

    name: str
    samples: int
    recall_before: float
    recall: float
    low: float
    high: float
    f1_before: float | None = None
    f1: float | None = None


class ConfusionChange(FrozenModel):
    """How often a class is taken for another.

    Attributes:
        name: Of the class of the samples.
        predicted: Of the class that they are taken for.
        before: How often by the reference.
        count: How often by the network.
    """

    name: str
    predicted: str
    before: int
    count: int


class Disagreement(FrozenModel):
    """A sample to which the networks give different classes.

    Attributes:
        sample: Its index in the test split.
        name: Of its class.
        before: Of the class that the reference gives it.
        before_confidence: Probability of that class in the reference.
        predicted: Of the class that the network gives it.
        confidence: Probability of that class in the network.
        image: Small JPEG, base64; empty for a sample that is no image.
        text: Its start, at most `TEXT_LENGTH` characters; empty for a sample that is no text.
    """

    sample: int
    name: str
    before: str
    before_confidence: float
    predicted: str
    confidence: float
    image: str = ""
    text: str = ""


class ClassComparison(FrozenModel):
    """Classes of the same test samples in a reference and in the network of a stage.

    Attributes:
        reference: Name of the reference.
        samples: Number of samples with a class.
        equal: Share of samples to which both give the same class.
        equal_low: Lower end of its 95 % Wilson interval.
        equal_high: Upper end.
        only_reference: Number of samples that only the reference classifies correctly.
        only_network: Number that only the network does.
        p_value: Of the exact two-sided McNemar test that both numbers are equally likely.
        class_count: Number of classes with samples.
        classes: The ones with the largest loss of recall first, at most `CLASSES`.
        confusions: The ones that changed most, at most `CONFUSIONS`.
        disagreement_count: Number of samples with different classes.
        disagreements: The ones that only the reference classifies correctly first, at most `DISAGREEMENTS`.
    """

    reference: str
    samples: int
    equal: float
    equal_low: float
    equal_high: float
    only_reference: int
    only_network: int
    p_value: float
    class_count: int
    classes: tuple[ClassChange, ...]
    confusions: tuple[ConfusionChange, ...]
    disagreement_count: int
    disagreements: tuple[Disagreement, ...]


CLASSES, CONFUSIONS, DISAGREEMENTS = 50, 10, 24
"""Largest numbers of classes, confusions and disagreements in a record."""
PICTURES, PICTURE_SIZE = 12, 96
"""Largest number of disagreements with a picture, and the longest side of one, px."""
TEXT_LENGTH = 240
"""Largest number of characters of the text of a disagreement."""
