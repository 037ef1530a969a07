"""`merge:` in a recipe: one network from several of the same architecture. Imports no torch.

- merge: {networks: ["hf:tuned_on_reviews", "run:reports/other/1a2b3c"], base: "hf:pretrained", method: ties}
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from compress.core.language import gettext
from compress.core.registry_field import RegistryField, name_of
from compress.core.stage import Candidate, Context, Form, Outcome, Stage
from compress.merge.method import MergeMethod
from compress.merge.methods.average import Average

KINDS = ("file", "hf", "run")
TEACHER = "teacher"


def _check_network(source: str) -> str:
    kind, _, rest = source.partition(":")
    if source != TEACHER and (kind not in KINDS or not rest):
        msg = gettext(
            "{source!r} names no trained network; write file:WEIGHTS, hf:FOLDER, run:FOLDER_OF_A_RUN or teacher", source=source
        )
        raise ValueError(msg)
    return source


TrainedNetwork = Annotated[str, AfterValidator(_check_network)]


class Merge(Stage):
    """Merge the weights of the network with those of others of the same architecture, without training.

    Floating-point tensors are merged in float32; integer buffers are those of the network. Statistics of batch norm are
    recomputed on training samples. The metrics of each network on validation are in the record, and a merged network that is
    worse than the best of them is a warning.

    Attributes:
        networks: The others: `file:WEIGHTS` with the tensors of the network, `hf:FOLDER`, `run:FOLDER` of a run or of a stage
            with `network.json`, or `teacher`.
        base: The network that all were fine-tuned from, for methods that merge what was learned since.
        weights: Relative share of the network, and of each of `networks`; None for equal shares, or for those of the method.
        method: How weights are merged.
        samples: Training samples for the statistics of batch norm.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    produces: ClassVar[Form | Literal["same"]] = "same"

    networks: tuple[TrainedNetwork, ...] = Field(min_length=1)
    base: TrainedNetwork | None = None
    weights: tuple[Annotated[float, Field(ge=0.0)], ...] | None = None
    method: Annotated[MergeMethod, RegistryField("merge", MergeMethod)] = Average()
    samples: int = Field(default=256, ge=2)

    @model_validator(mode="after")
    def _check(self) -> Self:
        name, count = name_of("merge", self.method), len(self.networks) + 1
        if self.method.needs_base and self.base is None:
            msg = gettext(
                "method {name} merges what networks learned since they were one; name that one as `base`, or use average",
                name=name,
            )
            raise ValueError(msg)
        if self.method.most is not None and count > self.method.most:
            msg = gettext(
                "method {name} merges {most} networks, and with that of the stage there are {count}; use average, or two "
                "stages",
                name=name,
                most=self.method.most,
                count=count,
            )
            raise ValueError(msg)
        if self.weights is not None and self.method.weighs_by_loss:
            raise ValueError(gettext("method {name} finds the shares by the losses; leave `weights` out", name=name))
        if self.weights is not None and (len(self.weights) != count or not sum(self.weights)):
            msg = gettext(
                "weights has {given} entries for {count} networks, that of the stage first; give one for each, not all 0",
                given=len(self.weights),
                count=count,
            )
            raise ValueError(msg)
        return self

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """Load the networks, merge them, and evaluate all on validation.

        Raises:
            ModelError: A network is missing, or its tensors have other names or shapes.
        """
        from compress.merge.merge_networks import merge_networks

        merged = merge_networks(self, candidate.network(), context)
        return Outcome(
            replace(candidate, module=merged.module),
            results=merged.results,
            warnings=merged.warnings,
            tables={"merged_networks": merged.rows},
        )

    def file_hashes(self, base: Path) -> dict[str, object]:
        """Hashes of the files of the networks."""
        from compress.merge.load_network import files_of

        named = (*self.networks, *([self.base] if self.base else []))
        return {source: files_of(source, base) for source in named if source != TEACHER}
