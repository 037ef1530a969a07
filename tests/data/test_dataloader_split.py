import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, SubsetRandomSampler, TensorDataset, WeightedRandomSampler

from compress.core.errors import DataError
from compress.data.interface import Data


class Jittered(Dataset):
    """Augments from torch's global generator."""

    def __init__(self, count=21, channels=3, classes=2):
        self.count, self.channels, self.classes = count, channels, classes

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return torch.full((self.channels, 8, 8), float(index)) + torch.rand(1), index % self.classes


def tensors(count=9, channels=3):
    return TensorDataset(torch.arange(count * channels * 64).float().view(count, channels, 8, 8), torch.arange(count) % 2)


def make(train=None, **rest):
    still = DataLoader(tensors(), batch_size=4)
    # An empty loader is false.
    chosen = DataLoader(Jittered(), batch_size=5, shuffle=True) if train is None else train
    return Data.from_loaders(chosen, still, still, classes=["a", "b"], **rest)


def equal(left, right):
    left, right = list(left), list(right)
    return len(left) == len(right) and all(
        torch.equal(one.input, other.input) and torch.equal(one.target, other.target)
        for one, other in zip(left, right, strict=True)
    )


def test_answers_must_not_be_kept():
    assert make().train.views is None
    assert all(batch.views is None for batch in make().train.epoch(0, 4, seed=0))


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_repeat_from_seed_and_number_only(workers):
    train = make(DataLoader(Jittered(), batch_size=5, shuffle=True, num_workers=workers)).train
    first = list(train.epoch(3, 5, seed=1))
    torch.rand(11)
    assert equal(first, train.epoch(3, 5, seed=1))
    assert not equal(first, train.epoch(4, 5, seed=1))
    assert not equal(first, train.epoch(3, 5, seed=2))


def test_what_happens_between_batches_does_not_matter():
    train = make().train
    first = list(train.epoch(0, 5, seed=1))
    disturbed = []
    for batch in train.epoch(0, 5, seed=1):
        torch.manual_seed(99)
        disturbed.append(batch)
    assert equal(first, disturbed)


def test_global_random_state_is_left_alone():
    train = make().train
    before = torch.get_rng_state()
    list(train.epoch(0, 5, seed=0))
    list(train.ordered(4))
    make()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_last_batch_of_one_sample_is_left_out():
    train = make().train
    batches = list(train.epoch(0, 5, seed=0))
    assert len(batches) == train.batches(5) == 4
    assert all(len(batch.target) == 5 for batch in batches)


def test_the_loaders_own_sampler_decides():
    weights = torch.zeros(21)
    weights[4] = 1.0
    sampler = WeightedRandomSampler(weights, 10)
    batches = list(make(DataLoader(Jittered(), batch_size=5, sampler=sampler)).train.epoch(0, 5, seed=0))
    assert len(batches) == 2
    assert all((batch.input.floor() == 4).all() for batch in batches)


def test_ordered_gives_every_sample_once_in_order():
    data = make()
    batches = list(data.validation.ordered(4))
    assert [len(batch.target) for batch in batches] == [4, 4, 1]
    assert torch.equal(torch.cat([batch.input for batch in batches]), tensors().tensors[0])
    assert torch.cat([batch.samples for batch in batches]).tolist() == list(range(9))
    shuffled = torch.cat([batch.input for batch in data.train.ordered(4)])
    assert (shuffled[:, 0, 0, 0].floor() == torch.arange(21)).all()


def test_fingerprints_follow_the_samples():
    changed = tensors()
    changed.tensors[0][3] += 1
    assert make().test.fingerprint == make().test.fingerprint
    other = Data.from_loaders(*[DataLoader(changed, batch_size=4)] * 3, classes=["a", "b"])
    assert other.test.fingerprint != make().test.fingerprint


class Own(Dataset):
    """Any samples."""

    def __init__(self, sample, count=24):
        self.sample, self.count = sample, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.sample(index)


class Stream(IterableDataset):
    def __iter__(self):
        yield torch.zeros(3, 8, 8), 0


@pytest.mark.parametrize(
    ("loader", "said"),
    [
        (DataLoader(Stream(), batch_size=2), "cannot be read by index"),
        (DataLoader(tensors(), batch_size=None), "cannot be read by index"),
        (DataLoader(TensorDataset(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))), "uint8"),
        (DataLoader(TensorDataset(torch.zeros(4, 192), torch.zeros(4, dtype=torch.int64))), r"\(1, 192\)"),
        (DataLoader(TensorDataset(torch.zeros(4, 3, 8, 8), torch.zeros(4))), "targets are torch.float32"),
        (DataLoader(TensorDataset(torch.zeros(4, 3, 8, 8), torch.full((4,), 2))), "run from 2 to 2, but there are 2 classes"),
        (DataLoader(TensorDataset(torch.zeros(4, 3, 8, 8))), "expected .inputs, targets."),
        (DataLoader(Own(lambda i: {"image": torch.zeros(3, 8, 8), "mask": i})), "a dictionary of image, mask; expected"),
        (DataLoader(Own(lambda i: (torch.zeros(3, 8 + i % 2, 8), 0)), 4), r"several shapes \(\(3, 8, 8\) at 0, \(3, 9, 8\)"),
        (DataLoader(Own(lambda i: (Image.new("RGB", (8, 8)), i % 2)), 4), "PIL.*convert images to tensors"),
        (DataLoader(Own(lambda i: (torch.full((3, 8, 8), 1 / (i - 5)), 0))), "fails at sample 5: ZeroDivisionError"),
        (DataLoader(TensorDataset(torch.full((4, 3, 8, 8), torch.nan), torch.zeros(4).long())), "NaN or infinite values in 1"),
        (tensors(), "is TensorDataset; wrap the dataset"),
        ([1], "is list; wrap the dataset"),
        (DataLoader(tensors(channels=1), batch_size=4), "make them the same"),
        (DataLoader(tensors(count=3), batch_size=4, drop_last=True), "gives no batches"),
    ],
)
def test_a_loader_that_does_not_fit_is_refused(loader, said):
    with pytest.raises(DataError, match=said):
        make(loader)


@pytest.mark.parametrize("keys", [("image", "label"), ("pixel_values", "labels"), ("x", "y")])
def test_batches_may_be_dictionaries(keys):
    named = DataLoader(Own(lambda i: {keys[0]: torch.full((3, 8, 8), float(i)), keys[1]: i % 2, "id": str(i)}), batch_size=5)
    plain = DataLoader(Own(lambda i: (torch.full((3, 8, 8), float(i)), i % 2)), batch_size=5)
    assert equal(make(named).train.ordered(4), make(plain).train.ordered(4))
    assert equal(make(named).train.epoch(0, 5, 1), make(plain).train.epoch(0, 5, 1))


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (lambda i: (torch.zeros(3, 8, 8) if i != 41 else torch.zeros(3, 9, 8), 0), "fails at batch 5"),
        (lambda i: (torch.full((3, 8, 8), torch.nan if i == 41 else 0.0), 0), "NaN or infinite values in 1 of 8 samples"),
    ],
)
def test_samples_that_were_not_looked_at_are_refused_when_they_come(sample, said):
    data = make(DataLoader(Own(sample, 97), batch_size=8))
    with pytest.raises(DataError, match=said):
        list(data.train.ordered(8))


def test_a_sampler_over_some_samples_is_followed_everywhere():
    dataset = tensors(20)
    first, second = (DataLoader(dataset, 4, sampler=SubsetRandomSampler(part)) for part in (range(12), range(12, 20)))
    data = Data.from_loaders(first, second, second, classes=["a", "b"])
    assert (len(data.train), len(data.validation)) == (12, 8)
    assert torch.equal(torch.cat([batch.input for batch in data.validation.ordered(3)]), dataset.tensors[0][12:])
    assert {float(value) for batch in data.train.epoch(0, 4, 0) for value in batch.input[:, 0, 0, 0]} <= {
        float(value) for value in dataset.tensors[0][:12, 0, 0, 0]
    }
    weighted = DataLoader(dataset, 4, sampler=WeightedRandomSampler(torch.ones(20), 8))
    with pytest.raises(DataError, match="validation loader has a WeightedRandomSampler; use a Subset"):
        Data.from_loaders(first, weighted, second, classes=["a", "b"])


def test_the_fingerprint_follows_the_sampling():
    weights = torch.ones(21)
    even = make(DataLoader(Jittered(), 5, sampler=WeightedRandomSampler(weights, 10))).train.fingerprint
    assert make(DataLoader(Jittered(), 5, sampler=WeightedRandomSampler(weights, 10))).train.fingerprint == even
    weights[3] = 5.0
    others = [
        DataLoader(Jittered(), 5, sampler=WeightedRandomSampler(weights, 10)),
        DataLoader(Jittered(), 4, sampler=WeightedRandomSampler(torch.ones(21), 10)),
        DataLoader(Jittered(), 5, shuffle=True),
        DataLoader(Jittered(), 5, shuffle=False),
        DataLoader(Jittered(), 5, shuffle=False, drop_last=True),
    ]
    assert len({even, *(make(loader).train.fingerprint for loader in others)}) == 6


def test_evaluation_samples_without_a_label_are_counted_and_refused():
    images, labels = tensors().tensors
    unlabelled = TensorDataset(images, torch.where(torch.arange(9) < 4, -1, labels))
    still = DataLoader(tensors(), batch_size=4)
    with pytest.raises(DataError, match="4 of 9 test samples have no label"):
        Data.from_loaders(still, still, DataLoader(unlabelled, batch_size=4), classes=["a", "b"])


def test_negative_labels_that_the_loader_maps_to_classes_are_labels():
    images, labels = tensors().tensors

    def collate(rows):
        return torch.stack([image for image, _ in rows]), torch.tensor([int(label > 0) for _, label in rows])

    still = DataLoader(tensors(), batch_size=4)
    signed = DataLoader(TensorDataset(images, 2 * labels - 1), batch_size=4, collate_fn=collate)
    data = Data.from_loaders(still, still, signed, classes=["a", "b"])
    assert torch.cat([batch.target for batch in data.test.ordered(4)]).tolist() == labels.tolist()
