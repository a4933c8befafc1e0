"""MLflow's server behind a user name and a password: `python -m penstock.adapters.mlflow.server`.

It takes the arguments of `mlflow server`. The variable PENSTOCK_MLFLOW_AUTH has "user:password".
MLflow has a password check of its own; it needs a library more, keeps users in a database of its
own, and answers pages of any server on this machine.
"""

import base64
import hmac
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from penstock.core.errors import ConfigError

AUTH_VARIABLE = "PENSTOCK_MLFLOW_AUTH"

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_ASK = (b"www-authenticate", b'Basic realm="MLflow of Penstock", charset="UTF-8"')


class PasswordGate:
    """An ASGI application that lets a request pass with the password, and never another site's.

    `auth` is "user:password". The path /health is open.
    """

    def __init__(self, app: App, auth: str) -> None:
        self._app = app
        self._expected = b"Basic " + base64.b64encode(auth.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        status = self._refusal(scope) if scope["type"] == "http" else None
        if status is None:
            await self._app(scope, receive, send)
            return
        headers = [(b"content-type", b"text/plain")]
        if status is HTTPStatus.UNAUTHORIZED:
            headers.append(_ASK)
        await send({"type": "http.response.start", "status": status.value, "headers": headers})
        await send({"type": "http.response.body", "body": status.phrase.encode()})

    def _refusal(self, scope: Scope) -> HTTPStatus | None:
        """Return the status with which a request is refused; None where it may pass."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin).netloc != headers.get(b"host", b""):
            return HTTPStatus.FORBIDDEN
        if scope["path"] == "/health" and scope["method"] == "GET":
            return None
        given = headers.get(b"authorization", b"")
        return None if hmac.compare_digest(given, self._expected) else HTTPStatus.UNAUTHORIZED


def create_app() -> PasswordGate:
    """Return MLflow's application behind the password of the environment."""
    from mlflow.server.fastapi_app import app

    return PasswordGate(app, _auth())


def main() -> None:
    """Run `mlflow server` with this process's arguments and the application above."""
    _auth()
    import mlflow.server
    from mlflow.cli import cli

    # MLflow takes an application of another package only by an entry point, which a package that
    # is used from its folder may not have. So the command by which it starts the server is changed.
    build: Callable[..., list[str]] = mlflow.server._build_uvicorn_command

    def with_gate(
        uvicorn_opts: str | None,
        host: str,
        port: int,
        workers: int,
        app_name: str,  # noqa: ARG001  # MLflow's own application
        env_file: str | None = None,
        is_factory: bool = False,  # noqa: ARG001
    ) -> list[str]:
        gate = "penstock.adapters.mlflow.server:create_app"
        return build(uvicorn_opts, host, port, workers, gate, env_file, True)

    mlflow.server._build_uvicorn_command = with_gate
    cli(["server", *sys.argv[1:]])


def _auth() -> str:
    auth = os.environ.get(AUTH_VARIABLE, "")
    if not all(auth.partition(":")):
        raise ConfigError(
            f"the environment variable {AUTH_VARIABLE} is not set: it must be user:password"
        )
    return auth


if __name__ == "__main__":
    main()
