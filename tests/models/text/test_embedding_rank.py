import pytest
from pydantic import ValidationError

from compress.models.settings import ModelSettings
from compress.models.text.embedding_rank import EmbeddingEnergy


def test_a_rank_or_an_energy():
    assert ModelSettings(source="hf:net", factorize_embeddings=8).factorize_embeddings == 8
    assert ModelSettings(source="teacher", factorize_embeddings={"energy": 0.9}).factorize_embeddings == EmbeddingEnergy(
        energy=0.9
    )
    for wrong in (0, {"energy": 1.5}, {"rank": 3}):
        with pytest.raises(ValidationError, match="factorize_embeddings"):
            ModelSettings(source="hf:net", factorize_embeddings=wrong)
    with pytest.raises(ValidationError, match="torchvision:resnet18 has none, so leave it out"):
        ModelSettings(source="torchvision:resnet18", factorize_embeddings=8)
