import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.core.network_spec import image_spec
from compress.core.stage import Candidate
from compress.models.checkpoint import load, save
from compress.models.compressed_checkpoint import compress_checkpoint, decompressed, zero_fraction
from compress.pipeline.stage_output import save_output

SPEC = image_spec(channels=3, height=8, width=8, mean=(0,) * 3, std=(1,) * 3, classes=("a", "b"))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 64), nn.Linear(64, 2)).eval()


def _sparse(net):
    with torch.no_grad():
        for p in net.parameters():
            p[torch.rand(p.shape) < 0.9] = 0
    return net


def test_a_packed_checkpoint_is_small_the_same_each_time_and_comes_back_bit_for_bit(net, tmp_path):
    sparse = _sparse(net)
    assert zero_fraction(sparse) == pytest.approx(0.9, abs=0.01)
    sizes = []
    for name in ("one", "two"):
        save(sparse, net, tmp_path / name / "w.safetensors")
        dense = (tmp_path / name / "w.safetensors").stat().st_size
        packed = compress_checkpoint(tmp_path / name / "w.safetensors")
        assert not (tmp_path / name / "w.safetensors").exists()
        sizes.append(packed.read_bytes())
    assert sizes[0] == sizes[1]
    assert len(sizes[0]) < 0.25 * dense
    with decompressed(tmp_path / "one" / "w.safetensors") as path:
        again = load(path, net)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), sparse.parameters(), strict=True))


def test_a_damaged_one_is_told(net, tmp_path):
    save(net, net, tmp_path / "w.safetensors")
    packed = compress_checkpoint(tmp_path / "w.safetensors")
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(ModelError, match="is damaged"), decompressed(tmp_path / "w.safetensors"):
        pass


@pytest.mark.parametrize("sparse", [True, False])
def test_the_store_compresses_sparse_networks_alone(sparse, net, tmp_path):
    save_output(Candidate(SPEC, _sparse(net) if sparse else net), tmp_path, lambda: net, unchanged=False)
    assert (tmp_path / "model.safetensors.gz").exists() == sparse
    assert (tmp_path / "model.safetensors").exists() != sparse
