"""Which ccxt venues are one: the regional companies of a venue answer as the venue does.

What a table of this package says of a family holds for each of its names.
"""

from collections.abc import Iterable, Mapping

#: The ccxt names of each family, its own first. A venue without other names is its own family.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "binance": ("binance", "binanceus"),
    "okx": ("okx", "okxus", "myokx"),
    "bybit": ("bybit", "bybiteu", "bybitid"),
}
_FAMILY_OF = {name: family for family, names in FAMILIES.items() for name in names}


def family_of(venue: str) -> str:
    """Return the family of a ccxt venue.

    >>> family_of("myokx"), family_of("kraken")
    ('okx', 'kraken')
    """
    return _FAMILY_OF.get(venue, venue)


def names_of(families: Iterable[str]) -> list[str]:
    """Return the ccxt names of these families, sorted.

    >>> names_of(["kraken", "binance"])
    ['binance', 'binanceus', 'kraken']
    """
    return sorted(name for family in families for name in FAMILIES.get(family, (family,)))
