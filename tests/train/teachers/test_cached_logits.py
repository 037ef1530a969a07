import numpy as np
import pytest
import torch
from torch import nn

from compress.core.fact import Fact
from compress.data.batch import Batch
from compress.distill.losses.response import Response
from compress.tasks.classification import Classification
from compress.tasks.text.masked_language_model import MaskedLanguageModel
from compress.train.teachers.cached_logits import CachedTeacher
from compress.train.teachers.logit_shards import LogitFolder
from compress.train.teachers.rows import distillable_rows
from tests.tasks.text.text_arrays import VOCABULARY, Arrays, tokens
from tests.train.toy_training import ToySplit, conv_net, toy_data, train


class Counted(nn.Module):
    """Counts its samples; copies share the count."""

    def __init__(self, net):
        super().__init__()
        self.net, self.count = net, torch.zeros((), dtype=torch.long)

    def __deepcopy__(self, memo):
        twin = Counted(self.net)
        twin.count = self.count
        return twin

    def forward(self, x):
        self.count += len(x)
        return self.net(x)


def answers(split, cache, teachers, key="k"):
    return CachedTeacher(teachers, split, Classification(), key=key, cache=LogitFolder(cache), device="cpu")


def test_kept_answers_agree_with_the_teacher(tmp_path):
    split, teacher = ToySplit(30, 1), conv_net()
    found = answers(split, tmp_path, [teacher])
    for epoch in range(3):
        for batch in split.epoch(epoch, 7, 0):
            with torch.no_grad():
                torch.testing.assert_close(found.logits(batch), teacher(batch.input))


def test_several_teachers_are_averaged(tmp_path):
    split, teachers = ToySplit(12, 1), [conv_net(1), conv_net(2)]
    batch = next(iter(split.epoch(0, 12, 0)))
    with torch.no_grad():
        mean = (teachers[0](batch.input) + teachers[1](batch.input)) / 2
    torch.testing.assert_close(answers(split, tmp_path, teachers).logits(batch), mean)


def test_a_batch_of_mixed_views_gets_each_sample_its_own(tmp_path):
    split, teacher = ToySplit(8, 1), conv_net()
    zero, one = (next(iter(split.view(view, 8))) for view in (0, 1))
    mixed = Batch.of(
        *(
            torch.cat([a[:3], b[3:]])
            for a, b in (
                (zero.input, one.input),
                (zero.target, one.target),
                (zero.samples, one.samples),
                (zero.views, one.views),
            )
        )
    )
    with torch.no_grad():
        torch.testing.assert_close(answers(split, tmp_path, [teacher]).logits(mixed), teacher(mixed.input))


def test_a_second_use_asks_no_teacher(tmp_path):
    split, teacher = ToySplit(30, 1), Counted(conv_net())
    first = answers(split, tmp_path, [teacher])
    first.precompute(range(5))
    assert int(teacher.count) == 60
    second = answers(split, tmp_path, [teacher])
    second.precompute(range(5))
    batch = next(iter(split.epoch(1, 8, 0)))
    assert torch.equal(second.logits(batch), first.logits(batch))
    assert int(teacher.count) == 60


def test_only_views_that_will_be_seen_are_computed(tmp_path):
    split, teacher = ToySplit(30, 1, views=10), Counted(conv_net())
    answers(split, tmp_path, [teacher]).precompute(range(3))
    assert int(teacher.count) == 90


@pytest.mark.parametrize("harm", ["cut", "flip", "foreign", "no manifest"])
def test_a_harmed_file_is_made_again(tmp_path, harm):
    split, teacher = ToySplit(30, 1), Counted(conv_net())
    found = answers(split, tmp_path, [teacher])
    found.precompute([0])
    (table,) = found.folder.glob("*.npy")
    (manifest,) = found.folder.glob("*.json")
    expected = np.load(table)
    if harm == "foreign":
        other = answers(split, tmp_path, [conv_net(4)], key="other")
        other.precompute([0])
        table.write_bytes(next(other.folder.glob("*.npy")).read_bytes())
        manifest.write_bytes(next(other.folder.glob("*.json")).read_bytes())
    elif harm == "no manifest":
        manifest.unlink()
    else:
        content = bytearray(table.read_bytes())
        content[-1] ^= 255
        table.write_bytes(content[:-40] if harm == "cut" else content)
    answers(split, tmp_path, [teacher]).precompute([0])
    assert int(teacher.count) == 60
    np.testing.assert_array_equal(np.load(table), expected)


def test_other_teachers_and_other_data_have_other_files(tmp_path):
    folders = {
        answers(ToySplit(30, 1), tmp_path, []).folder,
        answers(ToySplit(30, 2), tmp_path, []).folder,
        answers(ToySplit(30, 1), tmp_path, [], key="other").folder,
    }
    assert len(folders) == 3


def test_without_views_the_teacher_answers_every_batch_and_the_history_says_so(tmp_path):
    data, teacher = toy_data(views=None), Counted(conv_net(1))
    found = answers(data.train, tmp_path / "cache", [teacher])
    history = train(conv_net(), tmp_path, data=data, terms=(Response(),), teacher=found)
    assert int(teacher.count) == 4 * 48
    assert history.notes[0] == Fact.of("train.teacher_logits_not_cached")
    assert not (tmp_path / "cache").exists()


def test_a_training_fills_the_cache_and_leaves_the_teacher_as_it_was(tmp_path):
    data, teacher = toy_data(), conv_net(1)
    teacher.train()
    train(conv_net(), tmp_path, data=data, terms=(Response(),), teacher=answers(data.train, tmp_path / "cache", [teacher]))
    assert len(list((tmp_path / "cache").glob("*/*.npy"))) == 2
    assert teacher.training
    assert torch.equal(teacher[1].running_mean, torch.zeros(6))


def hidden_tokens(samples=20, seed=0):
    """Texts of which some tokens are hidden; one text has none."""
    inputs = tokens(samples, seed)
    hidden = (torch.rand(inputs["input_ids"].shape, generator=torch.Generator().manual_seed(seed)) < 0.3) & (
        inputs["attention_mask"] > 0
    )
    hidden[3] = False
    target = torch.where(hidden, inputs["input_ids"], -100)
    return Arrays(inputs, {"target": target})


class TokenNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(VOCABULARY, 8), nn.Linear(8, VOCABULARY)

    def forward(self, input_ids, attention_mask):
        return 3 * self.head(self.words(input_ids)) * attention_mask[:, :, None]


def test_logits_of_tokens_are_stored_for_each_sample_and_read_in_any_order(tmp_path, monkeypatch):
    monkeypatch.setattr("compress.train.teachers.logit_shards.SHARD_SIZE", 16)
    monkeypatch.setattr("compress.train.teachers.cached_logits.SHARD_SIZE", 16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = TokenNet().eval()
    task, split = MaskedLanguageModel(), hidden_tokens()
    teacher = CachedTeacher([network], split, task, key="k", cache=LogitFolder(tmp_path, 8), device="cpu")
    fact = teacher.precompute([0])
    assert fact is not None
    assert fact.code == "train.teacher_logits_by_token"
    assert fact.values["bytes_per_row"] == 6 + 16
    assert len(list(tmp_path.rglob("*.npy"))) == 4
    again = CachedTeacher([network], split, task, key="k", cache=LogitFolder(tmp_path, 8), device="cpu")
    monkeypatch.setattr(again, "_compute", None)
    for batch in split.epoch(0, 6, 5):
        with torch.no_grad():
            dense = distillable_rows(network, batch, task).numpy()
        found = again.logits(batch).numpy()
        assert found.shape == dense.shape
        np.testing.assert_allclose(np.exp(found.astype(float)).sum(1), 1.0, rtol=2e-3)
        p = np.exp(dense - np.logaddexp.reduce(dense, axis=1, keepdims=True))
        np.testing.assert_allclose(np.exp(found.max(1)), p.max(1), rtol=2e-3)
        assert (found.argmax(1) == p.argmax(1)).all()
    shard = next(tmp_path.rglob("*-00001.json"))
    shard.write_text(shard.read_text().replace('"rows": [', '"rows": [1, '))
    assert CachedTeacher([network], split, task, key="k", cache=LogitFolder(tmp_path, 8))._shards(0).missing() == [1]


def test_all_logits_of_tokens_are_not_stored(tmp_path):
    teacher = CachedTeacher([TokenNet()], hidden_tokens(), MaskedLanguageModel(), key="k", cache=LogitFolder(tmp_path))
    assert teacher.precompute([0]) == Fact.of("train.teacher_logits_not_cached")
