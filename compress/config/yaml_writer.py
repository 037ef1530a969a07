"""Values → YAML text."""

from __future__ import annotations

from io import StringIO

from ruamel.yaml.representer import SafeRepresenter

from compress.config.yaml_nodes import yaml_reader
from compress.core.language import Translatable


class _Representer(SafeRepresenter):
    """Keeps the order of keys, and writes equal values twice instead of an anchor."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        self.sort_base_mapping_type_on_output = False

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        """No value becomes an anchor."""
        return True


_Representer.add_representer(Translatable, _Representer.represent_str)


def dump(tree: object) -> str:
    """YAML text that `parse` reads as the same values."""
    writer = yaml_reader()
    writer.default_flow_style = False
    writer.allow_unicode = True
    writer.width = 120
    writer.Representer = _Representer
    text = StringIO()
    writer.dump(tree, text)
    return text.getvalue()
