"""Which YAML a file of configs/ may hold: that of version 1.2, with each key once.

PyYAML reads version 1.1, where `yes` is true and true is 1, `010` is 8 and `1:30` is 90, and where
the second of two equal keys replaces the first.
"""

import re
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"
_NO_NUMBER = re.compile(r"[-+]?\.?(nan|inf|infinity)", re.IGNORECASE)


if TYPE_CHECKING:
    from yaml import SafeLoader
else:
    try:  # libyaml gives the same nodes in a tenth of the time
        from yaml import CSafeLoader as SafeLoader
    except ImportError:
        from yaml import SafeLoader


class _Loader(SafeLoader):
    """A loader for which only plain decimal numbers are numbers.

    `true` and `yes` stay text. A setting that is a flag understands it; no number does.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own attribute

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError(f"the key in line {line} is no name")
            if key.tag == _MERGE:
                continue
            name = key.value
            if name in seen:
                raise yaml.YAMLError(
                    f"key '{name}' is given twice, in lines {seen[name]} and {line}: leave one out"
                )
            seen[name] = line
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        value = super().construct_scalar(node)
        is_plain = isinstance(node, yaml.ScalarNode) and not node.style
        if is_plain and isinstance(value, str) and _NO_NUMBER.fullmatch(value):
            raise yaml.YAMLError(
                f"'{value}' in line {node.start_mark.line + 1} is no number; write another, or "
                "quote it where it is a name"
            )
        return value


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"(~|null|Null|NULL|)$"), [*"~nN", ""]
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9_]*)$"), [*"-+0123456789"]
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?$"),
    [*"-+.0123456789"],
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:timestamp", re.compile(r"\d{4}-\d\d-\d\d$"), [*"0123456789"]
)
_Loader.add_implicit_resolver(_MERGE, re.compile(r"<<$"), ["<"])


def parse_yaml(text: str) -> Any:
    """Return the content of a YAML text. Raises yaml.YAMLError where it has another form.

    >>> parse_yaml("{live: yes, max_weight: 0.5, start: 2024-01-01}")
    {'live': 'yes', 'max_weight': 0.5, 'start': datetime.date(2024, 1, 1)}
    """
    return yaml.load(text, _Loader)
