"""How a file of configs/ becomes a frozen model, and what the message says where it cannot.

Unknown keys fail.
"""

from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from penstock.core.errors import ConfigError
from penstock.settings.yaml_text import parse_yaml

M = TypeVar("M", bound=BaseModel)


class Frozen(BaseModel):
    """Base of the settings: values that do not change, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def load_yaml(path: Path) -> dict[str, Any]:
    """Return the keys and values of a YAML file; raise ConfigError where it has no such content."""
    if not path.is_file():
        raise ConfigError(
            f"{path} does not exist: run from the project's folder, or set PENSTOCK_CONFIGS to "
            "its configs and PENSTOCK_HOME to its .penstock (else a new one is made here)"
        )
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {_problem(error)}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold keys and values, it holds a {type(content).__name__}")
    return content


def _problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


def validate(content: dict[str, Any], model: type[M], path: Path, prefix: str = "") -> M:
    """Return `content` as a model; raise ConfigError, which names every key that is wrong."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [_explain(problem, model, prefix) for problem in error.errors()]
        raise ConfigError(f"{path}: " + "; ".join(lines)) from None


def _explain(problem: Any, model: type[BaseModel], prefix: str) -> str:
    key = prefix + ".".join(str(part) for part in problem["loc"] if part != "[key]")
    if problem["type"] == "extra_forbidden":
        allowed = _fields_at(model, problem["loc"][:-1])
        return f"unknown key '{key}' = {_shown(key, problem)}" + (
            f": allowed are {', '.join(allowed)}" if allowed else ""
        )
    if problem["type"] == "missing":
        return f"key '{key}' is missing"
    return f"key '{key}' = {_shown(key, problem)}: {problem['msg'].removeprefix('Value error, ')}"


def _shown(key: str, problem: Any) -> str:
    """Return the value seen, or the keys of a block.

    A key that names a secret gives stars, because messages end up in logs.
    """
    if isinstance(problem["input"], dict):
        return "{" + ", ".join(map(str, problem["input"])) + "}"
    secret_words = ("key", "secret", "password", "token", "passphrase", "proxy")
    return "***" if any(word in key.lower() for word in secret_words) else repr(problem["input"])


def _fields_at(model: type[BaseModel], where: tuple[Any, ...]) -> list[str]:
    """Return the field names of the model that is nested at `where`."""
    current: Any = model
    for part in where:
        if isinstance(current, type) and issubclass(current, BaseModel):
            named = {field.alias or name: field for name, field in current.model_fields.items()}
            current = named[part].annotation if part in named else current
        for argument in reversed(getattr(current, "__args__", ())):
            if isinstance(argument, type) and issubclass(argument, BaseModel):
                current = argument
                break
    return (
        [field.alias or name for name, field in current.model_fields.items()]
        if isinstance(current, type) and issubclass(current, BaseModel)
        else []
    )


def loopback(url: str) -> str:
    """Return the URL of a server on this machine; raise ValueError for any other host."""
    host = urlsplit(url).hostname or ""
    if host not in {"127.0.0.1", "localhost", "::1"}:
        raise ValueError(
            f"'{url}' is not on this machine: "
            "only a practice exchange on 127.0.0.1 may stand in for a venue"
        )
    return url
