"""What each of the stack's processes finds in its environment: what it needs, and nothing else.

A flow can run any code. So the worker has the keys of the accounts that it trades and the way to
its servers. It has nothing else of the environment in which `penstock up` was typed, and no server
has a key.
"""

from collections.abc import Callable, Mapping
from urllib.parse import quote, urlsplit

from penstock.settings import (
    Process,
    Settings,
    StackSecret,
    stack_secret,
)
from penstock.stack.state import Addresses

#: What a process needs of the environment in which the stack was started, on any machine.
_KEPT = frozenset(
    {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "VIRTUAL_ENV",
        "LD_LIBRARY_PATH",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
    }
)
_KEPT_PREFIXES = ("LC_", "PYTHON", "NUMBA_", "OMP_", "POLARS_", "COVERAGE_")


class StackEnvironments:
    """The environments of the stack's processes."""

    def __init__(
        self, settings: Settings, addresses: Addresses, database_url: Callable[[str], str]
    ) -> None:
        self._settings = settings
        self._home = settings.home
        self._addresses = addresses
        self._database_url = database_url
        self._base = {
            **_kept(settings.variables),
            "NUMBA_CACHE_DIR": str(self._home / "numba"),
            "DO_NOT_TRACK": "1",
        }

    def prefect_server(self) -> dict[str, str]:
        """Return the environment of Prefect's server, which answers its own pages only."""
        database = self._database_url("prefect")
        return {
            **self._base,
            "PREFECT_HOME": str(self._home / "prefect"),
            "PREFECT_API_URL": self._addresses.prefect_api,
            "PREFECT_SERVER_API_AUTH_STRING": self._secret(StackSecret.PREFECT),
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins_of(self._addresses.prefect)),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database.replace(
                "postgresql://", "postgresql+asyncpg://", 1
            ),
            "PREFECT_SERVER_UI_API_URL": "/api",
            # the V2 pages ask another company for settings, whatever is said of analytics
            "PREFECT_SERVER_UI_V2_ENABLED": "false",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            # `prefect deployment run --watch` shows what a run says, its last message among it
            "PREFECT_SERVER_LOGS_STREAM_OUT_ENABLED": "true",
            "PREFECT_SERVER_LOGS_STREAM_PUBLISHING_ENABLED": "true",
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
                "prefect.server.concurrency.lease_storage.filesystem"
            ),
        }

    def mlflow_server(self) -> dict[str, str]:
        """Return the environment of MLflow's server."""
        return {
            **self._base,
            "PENSTOCK_MLFLOW_AUTH": self._secret(StackSecret.MLFLOW),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }

    def practice_exchange(self) -> dict[str, str]:
        """Return the environment of the practice exchange. Its keys are in the home folder."""
        return {**self._base, **self._place()}

    def deploying(self) -> dict[str, str]:
        """Return the environment of the commands that make the deployments."""
        return {
            **self._base,
            "PREFECT_HOME": str(self._home / "prefect"),
            "PREFECT_API_URL": self._addresses.prefect_api,
            "PREFECT_API_AUTH_STRING": self._secret(StackSecret.PREFECT),
        }

    def worker(self) -> dict[str, str]:
        """Return the environment of the worker, which its flows inherit."""
        settings, addresses = self._settings, self._addresses
        mine = settings.variables
        known = {**(settings.practice_key_variables() if addresses.practice else {}), **mine}
        keys = settings.environment.key_variables
        own = {f"PENSTOCK_{name.upper()}" for name in Process.model_fields}
        return {
            **self.deploying(),
            **{name: value for name, value in mine.items() if name in own},
            **{name: value for name, value in known.items() if name in keys},
            **self._place(),
            "PENSTOCK_MLFLOW_URL": with_login(addresses.mlflow, self._secret(StackSecret.MLFLOW)),
            "PENSTOCK_PRACTICE_URL": addresses.practice,
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "PREFECT_WORKER_PREFETCH_SECONDS": "25",
            "PREFECT_WORKER_QUERY_SECONDS": "5",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def _place(self) -> dict[str, str]:
        """Return where the home, the configuration and the database are."""
        process = self._settings.process
        return {
            "PENSTOCK_HOME": str(self._home),
            "PENSTOCK_CONFIGS": str(process.configs.resolve()),
            "PENSTOCK_ENV": process.env,
            "PENSTOCK_DATABASE_URL": self._database_url("penstock"),
        }

    def _secret(self, which: StackSecret) -> str:
        return stack_secret(self._home, which).get_secret_value()


def origins_of(address: str) -> tuple[str, str]:
    """Return what a browser names as the origin of a server on this machine."""
    port = urlsplit(address).port
    return f"http://127.0.0.1:{port}", f"http://localhost:{port}"


def with_login(address: str, auth: str) -> str:
    """Return the address with "user:password" in it, as MLflow's client takes it."""
    user, _, password = auth.partition(":")
    return address.replace("://", f"://{quote(user, safe='')}:{quote(password, safe='')}@", 1)


def _kept(variables: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in variables.items()
        if name.upper() in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
