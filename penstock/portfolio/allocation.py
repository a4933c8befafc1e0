"""Several strategies on one account: how their weights add up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from penstock.core.errors import ConfigError
from penstock.core.proposals import SeenBar


@dataclass(frozen=True)
class StrategyTargets:
    """What one strategy version wants."""

    version: str
    """The version, such as "trend/3"."""
    quota: float
    """The fraction of the account's equity that it may use."""
    weights: Mapping[str, float | None]
    """Fractions of its quota by symbol. None is no decision: the position is kept."""
    seen: Mapping[str, SeenBar] = field(default_factory=dict)
    """The newest bar that it saw, by symbol."""


@dataclass(frozen=True)
class PortfolioTargets:
    """What the account should have."""

    version: str
    """The portfolio version."""
    weights: Mapping[str, float | None]
    """Fractions of equity by symbol. None is no decision: the position is kept."""
    contributions: Mapping[str, Mapping[str, float]]
    """What each strategy version asked for (fraction of equity), by symbol and version."""
    seen: Mapping[str, SeenBar]
    """The newest bar that the strategies saw, by symbol; the oldest of these where they differ."""
    quotas: Mapping[str, float] = field(default_factory=dict)
    """What each strategy version may use (fraction of equity)."""

    @property
    def budget(self) -> float:
        """What all strategy versions together may use, as a fraction of equity."""
        return sum(self.quotas.values()) if self.quotas else 1.0

    def versions_of(self, symbol: str) -> str:
        """Return the strategy versions behind a symbol's weight, joined by "+".

        Where there is none, it is the portfolio's version.
        """
        return "+".join(sorted(self.contributions.get(symbol, {}))) or self.version


def portfolio_version(quotas: Mapping[str, float]) -> str:
    """Return the name of a portfolio of versions: "trend/3" or "carry/1*0.4+trend/3*0.6"."""
    if len(quotas) == 1 and next(iter(quotas.values())) == 1:
        return next(iter(quotas))
    return "+".join(
        f"{version}*{repr(float(quota)).removesuffix('.0')}"
        for version, quota in sorted(quotas.items())
    )


def quotas_of(version: str) -> dict[str, float]:
    """Return each strategy version's quota in a portfolio version.

    Raises ConfigError where that is no version of a portfolio.

    >>> quotas_of("carry/1*0.4+trend/3*0.6")
    {'carry/1': 0.4, 'trend/3': 0.6}
    """
    parts = [part.partition("*") for part in version.split("+")]
    try:
        quotas = {name: float(quota) if star else 1.0 for name, star, quota in parts}
    except ValueError:
        raise ConfigError(f"'{version}' is no version of a portfolio") from None
    total = sum(quotas.values())  # earlier versions were written with six digits
    return {name: quota / total if total > 1 else quota for name, quota in quotas.items()}


def allocate(targets: Sequence[StrategyTargets]) -> PortfolioTargets:
    """Return the sum of quota x weight by symbol.

    Where any of a symbol's strategies has no decision, its whole position is kept. The account has
    one position in it: trading for the other strategies would sell the part of that one. Raises
    ConfigError where quotas are negative or sum to more than one, or a version comes twice.
    """
    quotas = {target.version: target.quota for target in targets}
    if not targets or len(quotas) != len(targets):
        raise ConfigError(
            "a portfolio needs at least one strategy, and each version once: "
            f"{[t.version for t in targets]}"
        )
    if any(quota < 0 for quota in quotas.values()) or sum(quotas.values()) > 1 + 1e-9:
        raise ConfigError(f"quotas must be at least 0 and sum to at most 1; they are {quotas}")
    contributions: dict[str, dict[str, float]] = {}
    undecided: set[str] = set()
    for target in targets:
        for symbol, weight in target.weights.items():
            parts = contributions.setdefault(symbol, {})
            if weight is None:
                undecided.add(symbol)
            else:
                parts[target.version] = target.quota * weight
    weights = {
        symbol: None if symbol in undecided else sum(parts.values())
        for symbol, parts in contributions.items()
    }
    return PortfolioTargets(
        portfolio_version(quotas), weights, contributions, _oldest(targets), quotas
    )


def _oldest(targets: Sequence[StrategyTargets]) -> dict[str, SeenBar]:
    oldest: dict[str, SeenBar] = {}
    for target in targets:
        for symbol, bar in target.seen.items():
            if symbol not in oldest or bar.closed_at < oldest[symbol].closed_at:
                oldest[symbol] = bar
    return oldest
