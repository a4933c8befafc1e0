"""What `penstock trade` looks at before it starts the service."""

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from penstock.interfaces.cli.trading import _require_prefect_server
from penstock.stack import StackError


def test_prefect_server_that_is_away_is_named_with_the_command_that_starts_it() -> None:
    """Prefect's own error is a traceback."""
    url = "http://127.0.0.1:1/api"
    with (
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(StackError, match=rf"does not answer at {url}: start it with `penstock up`"),
    ):
        _require_prefect_server()
