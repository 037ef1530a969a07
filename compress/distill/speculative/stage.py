"""`speculative:` in a recipe: a draft that speculates for the exported network. Imports no torch.

- speculative: {draft: {source: "decoder:tiny", args: {layers: 1, width: 64}}, online: {data: {source: "jsonl:served.jsonl"}}}
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.registry import lookup
from compress.core.stage import Candidate, Context, Form, Outcome, Stage
from compress.data.settings import DataSettings
from compress.distill.losses.token_divergence import Kind
from compress.models.settings import ModelSettings
from compress.tasks.capability import Capability
from compress.train.settings import Losses, Training

if TYPE_CHECKING:
    from compress.train.loss_term import LossTerm


def _divergence() -> tuple[LossTerm, ...]:
    return (lookup("loss", "token_divergence").load()(kind="forward"),)


class OnlineUpdates(FrozenModel):
    """Updates of the draft while it serves (Liu et al. 2023, online speculative decoding, arXiv:2310.07177).

    Attributes:
        data: Served requests: its training prompts are served, and its validation prompts measure the acceptance. They take the
            tokenizer of the recipe's data. None takes the prompts of the recipe.
        requests: Number of requests.
        update_every: Requests between two updates.
        buffer: Latest requests that an update learns from.
        batch: Requests of the buffer that a step takes, at random.
        steps: Optimizer steps of an update.
        lr: Learning rate, by AdamW.
        divergence: Divergence from the target, as the loss `token_divergence` names it.
        accepted_weight: Weight of positions that were not refused; 0, as in the paper, learns from refused ones alone.
    """

    data: DataSettings | None = None
    requests: int = Field(default=256, ge=1)
    update_every: int = Field(default=8, ge=1)
    buffer: int = Field(default=32, ge=1)
    batch: int = Field(default=32, ge=1)
    steps: int = Field(default=2, ge=1)
    lr: float = Field(default=1e-3, gt=0.0)
    divergence: Kind = "forward"
    accepted_weight: float = Field(default=0.0, ge=0.0, le=1.0)


class Speculative(Stage):
    """Train a draft for the exported network, choose how many tokens it proposes, and ship both where that is faster.

    The output is that of the exported network alone, which is checked on the prompts. Both are timed on this machine in ONNX
    Runtime. Where the pair is not faster by `worth`, or a text differs, the artifact stays as it is, with the reason.

    Attributes:
        draft: The draft, a small network with the tokens of the data.
        train: Its distillation on the training data, from the network before quantization; None for a draft that is trained.
        draft_losses: Losses of that training.
        online: Updates while it serves requests; None for none.
        k: Tokens that the draft proposes; None chooses by measured times and acceptance.
        most_drafted: Largest k.
        prompts: Prompts on which acceptance, identity and speed are measured.
        max_new_tokens: Longest text in tokens.
        worth: Smallest measured speed-up for the pair to ship.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("onnx",)
    produces: ClassVar[Form | Literal["same"]] = "same"
    trains: ClassVar[bool] = False
    requires: ClassVar[tuple[Capability, ...]] = ("writes_text",)

    draft: ModelSettings
    train: Training | None = Training(epochs=3, batch_size=32, lr=3e-3)
    draft_losses: Losses = Field(default_factory=_divergence)
    online: OnlineUpdates | None = None
    k: Annotated[int, Field(ge=1, le=32)] | None = None
    most_drafted: int = Field(default=8, ge=1, le=32)
    prompts: int = Field(default=64, ge=2)
    max_new_tokens: int = Field(default=64, ge=2)
    worth: float = Field(default=1.05, ge=1.0)

    @model_validator(mode="after")
    def _is_a_network_of_its_own(self) -> Self:
        if self.draft.needs_teacher or self.draft.form == "onnx":
            msg = gettext(
                "draft is a network of its own, such as decoder:tiny with smaller args, not {source}", source=self.draft.source
            )
            raise ValueError(msg)
        if self.train is None and not self.draft.trained:
            raise ValueError(gettext("a draft with new weights proposes nothing useful; give `train`"))
        return self

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """Train, serve, measure, and write the artifact.

        Raises:
            CompressError: There is no torch network to learn from, or the draft does not fit.
        """
        from compress.distill.speculative.build_pair import build_pair

        return build_pair(self, candidate, context)

    def file_hashes(self, base: Path) -> dict[str, object]:
        """Hashes of the served requests."""
        if self.online is None or self.online.data is None:
            return {}
        from compress.data.factory import data_fingerprint

        return {"requests": data_fingerprint(self.online.data, base)}

    def smoke(self) -> Self:
        """One epoch, few prompts and requests."""
        online = self.online
        if online is not None:
            data = None if online.data is None else online.data.smoke()
            online = online.model_copy(update={"requests": min(online.requests, 8), "data": data})
        changed = {
            "train": self.train and self.train.smoke(),
            "online": online,
            "prompts": min(self.prompts, 4),
            "max_new_tokens": min(self.max_new_tokens, 16),
            "most_drafted": min(self.most_drafted, 2),
        }
        return self.model_copy(update=changed)
