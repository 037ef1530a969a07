"""Read a tokenizer: from a `tokenizer.json`, from the folder of a network, or from the hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.errors import DataError, MissingPackageError, message_line
from compress.core.language import gettext
from compress.core.user_path import user_path
from compress.data.text.chat_template import ChatTemplate, named_template, template_of
from compress.data.text.positions import positions_of, read_json
from compress.data.text.settings import FILE
from compress.data.text.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD_NAMES = ("[PAD]", "<pad>", "<|pad|>", "<|endoftext|>", "</s>")
"""Names of padding tokens of files that name none, in the order of preference."""
BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "generation_config.json")
"""Files beside a tokenizer that programs read which generate texts."""


def load_tokenizer(source: str, base: Path, most: int) -> TextTokenizer:
    """Read a tokenizer; it cuts at `most` tokens, or at the positions that the network in its folder has, if these are fewer.

    Args:
        source: A `tokenizer.json`, a folder with one, or a name on the hub.
        base: Folder for relative paths.
        most: Longest sequence in tokens.

    Raises:
        DataError: There is none, or it cannot be read.
        MissingPackageError: tokenizers is not installed.
    """
    path = user_path(source, base)
    if path.is_file():
        return _configured(read_tokenizer(path), {}, path.parent, most)
    if path.is_dir():
        file = path / FILE
        return _configured(read_tokenizer(file) if file.is_file() else _converted(path), {}, path, most)
    return _from_hub(source, path, most)


def import_tokenizers() -> None:
    """Check that the package is installed.

    Raises:
        MissingPackageError: It is not.
    """
    try:
        import tokenizers  # noqa: F401
    except ImportError as error:
        raise MissingPackageError("tokenizers", "hf", gettext("text data")) from error


def read_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer from its `tokenizer.json`, as it is; errors as for `load_tokenizer`."""
    import_tokenizers()
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises Exception itself
        msg = gettext(
            "{path} is no tokenizer.json ({reason}); save it with tokenizers or with AutoTokenizer.save_pretrained",
            path=path,
            reason=message_line(error),
        )
        raise DataError(msg) from error


def _converted(folder: Path) -> Tokenizer:
    """The tokenizer of a folder without `tokenizer.json`, made by transformers of its other files."""
    try:
        from transformers import AutoTokenizer, PreTrainedTokenizerFast
    except ImportError as error:
        raise MissingPackageError("transformers", "hf", gettext("a tokenizer without tokenizer.json")) from error
    try:
        loaded = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # transformers raises errors of many kinds
        raise _missing(folder, message_line(error)) from error
    if not isinstance(loaded, PreTrainedTokenizerFast):
        raise _missing(folder, gettext("its tokenizer has no fast form"))
    tokenizer: Tokenizer = loaded.backend_tokenizer
    return tokenizer


def _from_hub(name: str, path: Path, most: int) -> TextTokenizer:
    try:
        from transformers import AutoTokenizer, PreTrainedTokenizerFast
    except ImportError as error:
        raise MissingPackageError("transformers", "hf", gettext("the tokenizer {name}", name=name)) from error
    try:
        loaded = AutoTokenizer.from_pretrained(name)
    except Exception as error:  # likewise
        raise _missing(path, message_line(error)) from error
    if not isinstance(loaded, PreTrainedTokenizerFast):
        raise _missing(path, gettext("its tokenizer has no fast form"))
    most = min(most, loaded.model_max_length)
    pad = pad_token(loaded.backend_tokenizer, loaded.pad_token)
    found = TextTokenizer.of(loaded.backend_tokenizer, most, pad, loaded.eos_token)
    tokens = {key: token for key, token in loaded.special_tokens_map.items() if isinstance(token, str)}
    template = named_template(loaded.chat_template)
    return replace(found, tokens=tokens, chat=None if template is None else ChatTemplate(template, tokens, name))


def _configured(tokenizer: Tokenizer, config: dict[str, object], folder: Path, most: int) -> TextTokenizer:
    config = {**read_json(folder / "special_tokens_map.json"), **read_json(folder / "tokenizer_config.json"), **config}
    pad, end = (_named(config.get(key)) for key in ("pad_token", "eos_token"))
    positions = positions_of(read_json(folder / "config.json"))
    tokens = _special(config)
    found = TextTokenizer.of(tokenizer, min(most, positions or most), pad_token(tokenizer, pad), end)
    beside = {name: (folder / name).read_bytes() for name in BESIDE if (folder / name).is_file()}
    return replace(found, tokens=tokens, chat=template_of(config, folder, tokens), beside=beside)


def special_tokens(folder: Path) -> dict[str, str]:
    """Special tokens by name, such as `bos_token`, that the files of a tokenizer name."""
    return _special({**read_json(folder / "special_tokens_map.json"), **read_json(folder / "tokenizer_config.json")})


def _special(config: dict[str, object]) -> dict[str, str]:
    return {key: name for key, token in config.items() if key.endswith("_token") and (name := _named(token)) is not None}


def _named(token: object) -> str | None:
    """Name of a special token in a configuration."""
    return str(token.get("content")) if isinstance(token, dict) else token if isinstance(token, str) else None


def pad_token(tokenizer: Tokenizer, named: str | None) -> str | None:
    """Name of the padding token: that of a configuration, of the file's own padding, or one of the usual names; None without.

    Args:
        tokenizer: The tokenizer.
        named: Name in the configuration.
    """
    own = (tokenizer.padding or {}).get("pad_token")
    candidates = (named, own, *PAD_NAMES)
    return next((name for name in candidates if name is not None and tokenizer.token_to_id(name) is not None), None)


def _missing(path: Path, reason: str) -> DataError:
    return DataError(
        gettext(
            "no tokenizer in {path} ({reason}); give a folder with tokenizer.json, or train one: "
            "`tokenizer: {{train: wordpiece, vocabulary: 8000}}`",
            path=path,
            reason=reason,
        )
    )
