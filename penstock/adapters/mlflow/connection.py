"""How MLflow is reached: without telemetry, with short time-outs and one kind of error."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.core.errors import PromotionError

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: MLflow reads these from the process's environment when it is imported, and from nowhere else.
#: They are the same for every platform of a process. A variable that is set already keeps its
#: value.
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}

#: The metrics of a search's run that are series over its trials; every other is one figure.
SERIES = ("trial_value", "best_value")


def local_tracking_uri(folder: Path) -> str:
    """Return the tracking URI of an MLflow database file in `folder`, created if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(folder / 'mlflow.db').resolve()}"


def artifact_location(tracking_uri: str, folder: Path | None) -> str | None:
    """Return where a new experiment keeps its artifacts, as a URI.

    It is `folder`, or by default `mlartifacts` beside a database file. None lets a server decide.
    Raises PromotionError for another database without a folder: MLflow would take the working
    directory.
    """
    if is_server(tracking_uri):
        return None
    if folder is None and tracking_uri.startswith("sqlite:///"):
        folder = Path(tracking_uri.removeprefix("sqlite:///")).parent / "mlartifacts"
    if folder is None:
        raise PromotionError(
            f"MLflow at {without_password(tracking_uri)} has no place for artifacts: "
            "give an artifact_folder, or use a server"
        )
    return folder.resolve().as_uri()


def is_server(tracking_uri: str) -> bool:
    """Return whether the URI names a server, which decides where artifacts are kept."""
    return tracking_uri.startswith(("http://", "https://"))


def connect(tracking_uri: str) -> "MlflowClient":
    """Return a client of the tracking server or database.

    Raises PromotionError where it cannot be opened.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow import MlflowClient

    with explained(tracking_uri, "connect"):
        return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


@contextmanager
def explained(tracking_uri: str, doing: str) -> Iterator[None]:
    """Turn MLflow's errors into PromotionError, which says what was being done and where."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        doubt = "" if is_absent(error) else "; is it running at this address?"
        raise PromotionError(
            f"MLflow at {without_password(tracking_uri)} could not {doing}: "
            f"{without_password(first)[:300]}{doubt}"
        ) from None


def is_absent(error: Exception) -> bool:
    """Return whether an MlflowException means that something does not exist."""
    return getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST"


def without_password(text: str) -> str:
    """Return the text without the user names and passwords of its URLs, fit to be printed."""
    return re.sub(r"//[^/@\s]+@", "//", text)


@contextmanager
def fluent(tracking_uri: str) -> Iterator[None]:
    """Point MLflow's module-level functions at `tracking_uri` for the duration.

    Models can only be logged through them.
    """
    import mlflow

    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before[0])
        # "" follows the tracking address again.
        mlflow.set_registry_uri("" if before[1] == before[0] else before[1])
