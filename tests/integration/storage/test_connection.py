"""What a wrong or unreachable database URL leads to."""

import pytest

from penstock.adapters.stores.timescale import address_of, connect
from penstock.core.errors import StoreError


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "mysql://user:geheim@host/name",
        "sqlite:///penstock.db",
        "postgresql://user:geheim@127.0.0.1:notaport/name",
        "postgresql://user:geheim@127.0.0.1:99999/name",
        "postgresql://user:geheim@127.0.0.1:1/name",
        "postgresql://user:geh%zzeim@127.0.0.1:1/name",
    ],
)
def test_unusable_url_gives_one_sentence_without_the_password(url: str) -> None:
    """Every wrong URL ends in a StoreError that names a remedy and never the password."""
    with pytest.raises(StoreError) as refused:
        connect(url)
    said = str(refused.value)
    assert "PENSTOCK_DATABASE_URL" in said or "postgresql://user:password@host" in said
    assert "geh" not in said
    assert "\n" not in said


def test_drivers_of_other_libraries_are_understood() -> None:
    """A URL copied from SQLAlchemy's settings means the same server."""
    plain, copied = (address_of(f"postgresql{driver}://me@host:5433/name") for driver in ("", "+psycopg"))
    assert plain == copied == "me@host:5433/name"
