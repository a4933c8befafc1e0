"""Keys of accounts: read from the environment, and made for the practice exchange.

No message shows a key.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from penstock.core.errors import ConfigError
from penstock.core.machine import new_secret

#: The portfolios that have an account on the practice exchange.
PRACTICE_PORTFOLIOS = ("daily", "minute", "practice-minute")


def secret(variables: Mapping[str, str], name: str | None, purpose: str) -> SecretStr:
    """Return the secret in the environment variable `name`.

    Raises ConfigError, which names the variable and no value, where it is empty.
    """
    value = variables.get(name or "")
    if not value:
        raise ConfigError(
            f"{purpose}: the environment variable {name or '(none configured)'} is empty; "
            "set it before trading"
        )
    return SecretStr(value)


def practice_keys(home: Path) -> dict[str, tuple[str, str]]:
    """Return (key, secret) of each practice account, by portfolio.

    They are made once, in a file that only its owner can read.
    """
    path = home / "practice-keys.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    missing = [portfolio for portfolio in PRACTICE_PORTFOLIOS if portfolio not in known]
    if missing:
        home.mkdir(parents=True, exist_ok=True)
        known |= {portfolio: [new_secret(16), new_secret(32)] for portfolio in missing}
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(known, file)
    return {name: (key, secret) for name, (key, secret) in known.items()}


def practice_key_variables(home: Path) -> dict[str, str]:
    """Return the practice accounts' keys by the variables that configs/environments.yaml names."""
    variables: dict[str, str] = {}
    for portfolio, (key, secret_key) in practice_keys(home).items():
        name = portfolio.upper().replace("-", "_")
        variables |= {
            f"PENSTOCK_PRACTICE_{name}_KEY": key,
            f"PENSTOCK_PRACTICE_{name}_SECRET": secret_key,
        }
    return variables
