"""`masked_lm`: words are replaced by predictions of a masked language model. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from compress.core.atomic_files import sha256
from compress.core.errors import DataError
from compress.core.user_path import user_path
from compress.data.text.augmentation.base import Editor, Resources
from compress.data.text.augmentation.replacement import WordReplacement, no_teacher

HUB = "hf:"


class MaskedLm(WordReplacement):
    """Replace each word with probability p by one of k candidates, TinyBERT's way (Jiao et al. 2020, arXiv:1909.10351, app. A).

    A word of one token is hidden, and its candidates are the k most probable whole words in its place; those of a word of
    several tokens are the k whole words with the nearest vectors in the network's table of tokens. The network runs once for
    each word of one token. A copy has no label of its own: the teacher answers it.

    Attributes:
        p: Probability of a word to be replaced.
        source: `teacher`, if it is a masked language model; or a folder of transformers with such a network and its tokenizer.
        k: Number of candidates of a word.
        copies: Changed copies of each training text.
        stop_words: Whether English words of grammar are replaced, too.
        batch_size: Texts with a hidden word that the network reads together.
    """

    batch_size: int = Field(default=32, ge=1)

    def editor(self, resources: Resources) -> Editor:
        """Replacements.

        Raises:
            DataError: No teacher, a folder without such a network, or a network that predicts no tokens.
            MissingPackageError: transformers is not installed.
        """
        from compress.data.text.augmentation.masked_predictions import MaskedPredictor, network_of_folder, network_of_teacher

        if not self.uses_teacher:
            network, tokenizer = network_of_folder(self._path(resources.base), resources.tokenizer.max_length)
        elif resources.teacher is None:
            raise DataError(no_teacher())
        else:
            network, tokenizer = network_of_teacher(resources.teacher, resources.tokenizer)
        predictor = MaskedPredictor(network, tokenizer, self.k, self.batch_size, resources.device)
        return predictor.editor(self.p, stop_words=self.stop_words)

    def file_hashes(self, base: Path) -> dict[str, object]:
        """Hashes of the files of the folder; a missing folder is reported when the stage runs."""
        folder = self._path(base)
        if self.uses_teacher or not folder.is_dir():
            return {}
        return {file.name: sha256(file) for file in sorted(folder.iterdir()) if file.is_file()}

    def _path(self, base: Path) -> Path:
        return user_path(self.source.removeprefix(HUB), base)
