"""Small encoders of transformers, and batches with and without padding."""

import pytest
import torch

from compress.data.batch import Batch
from compress.models.sources.hugging_face import SequenceClassifier
from compress.tasks.classification import Classification
from compress.train.curriculum.settings import Curriculum
from compress.train.features.hooks import capture
from compress.train.features.matched_layers import FeatureMatcher
from compress.train.teachers.online import TeacherOutputs
from compress.train.weighted_loss import WeightedLoss

COMMON = {"num_hidden_layers": 2, "intermediate_size": 24, "vocab_size": 40, "max_position_embeddings": 32}
FAMILIES = {
    "bert": {},
    "roberta": {},
    "electra": {"embedding_size": 8},
    "albert": {"embedding_size": 8},
    "mpnet": {},
    "deberta": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 8},
    "deberta-v2": {
        "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "share_att_key": True, "position_buckets": 4,
    },
}  # fmt: skip
DISTILBERT = {
    "hidden_size": "dim",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "intermediate_size": "hidden_dim",
}
"""Its names of settings."""


def encoder(family="bert", seed=0, *, layers=2, width=16, heads=2, attention=None, **more):
    """A classifier with large weights, so that its attention is far from uniform."""
    transformers = pytest.importorskip("transformers")
    options = {**COMMON, "num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": heads, "num_labels": 3}
    if family == "distilbert":
        options = {DISTILBERT.get(name, name): value for name, value in options.items()}
    config = transformers.AutoConfig.for_model(family, **options | FAMILIES.get(family, {}) | more)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        how = {} if attention is None else {"attn_implementation": attention}
        network = transformers.AutoModelForSequenceClassification.from_config(config, **how).eval()
        for parameter in network.parameters():
            if parameter.ndim == 2:
                parameter.data.normal_(0, 0.3)
    return SequenceClassifier(network).eval()


def tokens(samples=3, length=6, padding=0, seed=0):
    """Token numbers and mask; the second sample is two tokens shorter."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 40, (samples, length), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, length - 2 :] = 0
    ids[1, length - 2 :] = 1
    extra = torch.ones(samples, padding, dtype=torch.long)
    return {"input_ids": torch.cat([ids, extra], 1), "attention_mask": torch.cat([mask, 0 * extra], 1)}


def loss_of(term, student, teacher, inputs, matcher=None):
    """The weighted loss of one term on a batch, and the matcher with its modules."""
    labels = torch.arange(len(inputs["input_ids"])) % 3
    if matcher is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            matcher = FeatureMatcher((term,), student, [teacher], tuple(inputs.values()), samples=8, search=inputs)
    task = Classification()
    batch = Batch(inputs, {"target": labels}, torch.arange(len(labels)))
    with capture(student, matcher.student_hooks) as of_student:
        outputs = task.training_forward(student, inputs, batch.targets)
    with torch.no_grad(), capture(teacher, matcher.teacher_hooks(0)) as of_teacher:
        answers = task.training_forward(teacher, inputs, batch.targets)["logits"]
    rows = task.distillable(outputs, batch.targets)
    weighted = WeightedLoss((term,), matcher, task, 0.0, Curriculum())
    return weighted.loss(batch, outputs, rows, of_student, TeacherOutputs(answers, [of_teacher]), None, 0.0), matcher


def value_of(term, student, teacher, inputs):
    """The loss as a number."""
    return loss_of(term, student, teacher, inputs)[0].item()
