"""Connections to the database: how they are made, pooled and replaced, and what an error means.

The settings decide which server it is.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode
from weakref import WeakKeyDictionary

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from penstock.adapters.stores.postgres.tier import Tier, detect_tier
from penstock.core.errors import (
    SchemaError,
    StaleLeaseError,
    StoreError,
    StoreUnavailableError,
    UnknownAccountError,
)
from penstock.core.machine import SYSTEM_CLOCK

STALE_LEASE = "PS001"
UNKNOWN_ACCOUNT = "PS002"
#: A writer that hangs must not stop the others for ever. A session that waits for a lock gives up,
#: and one that is idle in a transaction is ended.
_SESSION = (
    "-c lock_timeout=30s -c idle_in_transaction_session_timeout=120s"
    # a plan that was made when a table was empty would go on reading all of it
    " -c plan_cache_mode=force_custom_plan"
)
#: Set last, so that neither the server nor the URL can change it. An order leaves after a commit,
#: and a crash of the server must not undo that commit.
_ALWAYS = "-c timezone=UTC -c synchronous_commit=on"
#: The server calls statements that left without waiting active until COMMIT, never idle. It ends
#: them after the same time, which servers before version 17 cannot.
_TRANSACTION_LIMIT = """
    SELECT set_config('transaction_timeout',
                      current_setting('idle_in_transaction_session_timeout'), true)
"""
_WITH_TRANSACTION_LIMIT = 170_000
_CONNECT_SECONDS = 10
_POOL_SECONDS = 15.0
_TRUSTED_SECONDS = 0.25


class Database:
    """A pool of connections to one server, and the tier of that server.

    It is thread-safe. Close it at the end, or use it in a `with` statement.
    """

    def __init__(self, url: str, tier: Tier, max_connections: int) -> None:
        """`connect` makes one, after it has found that the server answers."""
        self.tier = tier
        self.address = address_of(url)
        self._conninfo = _conninfo(url)
        self._pool = ConnectionPool(
            self._conninfo,
            min_size=1,
            max_size=max_connections,
            timeout=_POOL_SECONDS,
            check=_check_idle,  # a restarted server leaves dead connections behind
            name="penstock",
            open=True,
        )

    @contextmanager
    def transaction(self) -> Iterator["psycopg.Connection[psycopg.rows.TupleRow]"]:
        """Yield a connection inside one transaction.

        It is committed at the end, and rolled back by any exception.
        """
        with translated(self.address), self._connection(autocommit=False) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator["psycopg.Connection[psycopg.rows.TupleRow]"]:
        """Yield a connection for one statement that reads, without BEGIN and COMMIT around it."""
        with translated(self.address), self._connection(autocommit=True) as connection:
            yield connection

    @contextmanager
    def together(self) -> Iterator["psycopg.Connection[psycopg.rows.TupleRow]"]:
        """Yield a connection inside one transaction whose statements leave together.

        A statement leaves with those before it when its rows are fetched, the last ones with
        COMMIT. So an error may be raised by a later statement, or at the end. The server carries
        out nothing that follows an error, so no COMMIT either. Before the end rows are to be
        fetched: there is no `rowcount` yet. A server before version 17 is asked one by one: it
        could not end the transaction of a process that sleeps.
        """
        with translated(self.address), self._connection(autocommit=True) as connection:
            if connection.info.server_version < _WITH_TRANSACTION_LIMIT:
                with connection.transaction():
                    yield connection
                return
            with connection.pipeline():
                connection.execute("BEGIN")  # psycopg's own would be waited for
                connection.execute(_TRANSACTION_LIMIT)
                yield connection
                done = connection.execute("COMMIT")
            if done.statusmessage != "COMMIT":  # what is not confirmed may not have happened
                raise psycopg.OperationalError(
                    f"COMMIT was answered with {done.statusmessage or 'nothing'}"
                )

    @contextmanager
    def _connection(
        self, *, autocommit: bool
    ) -> Iterator["psycopg.Connection[psycopg.rows.TupleRow]"]:
        """Yield a connection of the pool, and note when it was used last.

        The pool's own callback for that would hand each connection to a thread of the pool.
        """
        with self._pool.connection() as connection:
            if connection.autocommit is not autocommit:
                connection.autocommit = autocommit
            try:
                yield connection
            finally:
                _last_use[connection] = SYSTEM_CLOCK.elapsed_seconds()

    @contextmanager
    def dedicated(self) -> Iterator["psycopg.Connection[psycopg.rows.TupleRow]"]:
        """Yield a new autocommit connection that prepares no statement.

        It is meant for DDL, after which prepared plans fail.
        """
        with (
            translated(self.address),
            psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=None) as connection,
        ):
            yield connection

    def describe(self) -> str:
        """Return tier and address as text, without the password."""
        kind = {
            Tier.TIMESCALE: "TimescaleDB",
            Tier.APACHE: "TimescaleDB (Apache licence)",
            Tier.PLAIN: "plain PostgreSQL",
        }[self.tier]
        return f"{kind} at {self.address}"

    def detect_tier_again(self) -> None:
        """Read the tier once more, after a migration may have created the extension."""
        with self.dedicated() as connection:
            self.tier = detect_tier(connection)

    def close(self) -> None:
        self._pool.close()

    def __enter__(self) -> "Database":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


_last_use: "WeakKeyDictionary[psycopg.Connection[Any], float]" = WeakKeyDictionary()


def _check_idle(connection: "psycopg.Connection[Any]") -> None:
    """Check a connection that has been idle for longer than _TRUSTED_SECONDS."""
    if SYSTEM_CLOCK.elapsed_seconds() - _last_use.get(connection, 0.0) > _TRUSTED_SECONDS:
        ConnectionPool.check_connection(connection)


def connect(url: str, max_connections: int = 10) -> Database:
    """Return the database at `url`: postgresql://user:password@host:port/name.

    Raises StoreError where it cannot be used. The pool has at most `max_connections`.
    """
    address = address_of(url)
    with translated(address), psycopg.connect(_conninfo(url), prepare_threshold=None) as connection:
        tier = detect_tier(connection)
    return Database(url, tier, max_connections)


def create_database(url: str, name: str) -> str:
    """Return the URL of the database called `name` on the server of `url`.

    It is created where it is missing.
    """
    parts = conninfo_to_dict(_plain(url))
    with (
        translated(address_of(url)),
        psycopg.connect(
            make_conninfo(_conninfo(url), dbname="postgres"), autocommit=True
        ) as connection,
    ):
        if (
            connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
            is None
        ):
            # another process may be first
            with suppress(errors.DuplicateDatabase, errors.UniqueViolation):
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return _url({**parts, "dbname": name})


def _url(parts: Mapping[str, object]) -> str:
    user = quote(str(parts.get("user") or ""), safe="")
    password = f":{quote(str(parts['password']), safe='')}" if parts.get("password") else ""
    place = f"{parts.get('host') or '127.0.0.1'}:{parts.get('port') or 5432}/{parts['dbname']}"
    others = {
        key: value
        for key, value in parts.items()
        if key not in {"user", "password", "host", "port", "dbname"}
    }
    return f"postgresql://{user}{password}@{place}{'?' + urlencode(others) if others else ''}"


def address_of(url: str) -> str:
    """Return user@host:port/name: the URL without its password, for messages."""
    try:
        parts = conninfo_to_dict(_plain(url))
    except psycopg.ProgrammingError:
        raise StoreError(
            "the database URL cannot be read: write postgresql://user:password@host:port/name"
        ) from None
    user = f"{parts['user']}@" if parts.get("user") else ""
    server = f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}"
    return f"{user}{server}/{parts.get('dbname', '')}"


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Raise psycopg's errors as StoreError.

    The message names the address, the server's own message, and a remedy where there is one.
    """
    try:
        yield
    except psycopg.Error as error:
        raise _translate(error, address) from error
    except PoolTimeout as error:
        raise StoreUnavailableError(
            f"no connection to the database at {address} within {_POOL_SECONDS:.0f} s: it is down, "
            "or all connections are taken; start it, or check PENSTOCK_DATABASE_URL"
        ) from error


def _translate(error: psycopg.Error, address: str) -> StoreError:
    message = (error.diag.message_primary or " ".join(str(error).split())).strip()
    if error.sqlstate == STALE_LEASE:
        return StaleLeaseError(
            f"{message}: another process is now the account's writer; stop this one"
        )
    if error.sqlstate == UNKNOWN_ACCOUNT:
        return UnknownAccountError(f"{message}: its first reconciliation or rebalance begins it")
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn | errors.UndefinedFunction):
        return SchemaError(
            f"the database at {address} lacks a part of Penstock's schema ({message}): migrate it"
        )
    if isinstance(error, errors.LockNotAvailable):
        return StoreError(
            f"another process holds a lock in the database at {address} that this one needs "
            f"({message}): find it, then try again"
        )
    if isinstance(error, psycopg.OperationalError):
        return StoreUnavailableError(
            f"the database at {address} cannot be used ({message}): start it, or check "
            "PENSTOCK_DATABASE_URL"
        )
    return StoreError(f"the database at {address} refused a request ({message})")


def _plain(url: str) -> str:
    """Drop SQLAlchemy's driver suffix, which people copy from other settings."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1).replace(
        "postgresql+asyncpg://", "postgresql://", 1
    )


def _conninfo(url: str) -> str:
    parts = conninfo_to_dict(_plain(url))
    return make_conninfo(
        _plain(url),
        connect_timeout=parts.get("connect_timeout") or _CONNECT_SECONDS,
        options=" ".join(
            part for part in (_SESSION, str(parts.get("options") or ""), _ALWAYS) if part
        ),
        application_name="penstock",
    )


def has_clients(url: str) -> bool:
    """Return whether anyone else is connected to any database of the server at `url`."""
    with (
        translated(address_of(url)),
        psycopg.connect(_conninfo(url), prepare_threshold=None) as connection,
    ):
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchone()
    return bool(row and row[0])
