"""Several strategies on one account: how their weights add up. What each strategy wants is decided
elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from penstock.core.errors import ConfigError
from penstock.core.proposals import SeenBar


@dataclass(frozen=True)
class StrategyTargets:
    """What one strategy version wants: fractions of its own quota by symbol; None is "no decision:
    hold".

    `quota` is the fraction of the account's equity that the strategy may use. `seen` is what the
    weights rest on.
    """

    version: str
    quota: float
    weights: Mapping[str, float | None]
    seen: Mapping[str, SeenBar] = field(default_factory=dict)


@dataclass(frozen=True)
class PortfolioTargets:
    """What the account should hold: fractions of its equity by symbol; None is "no decision: hold".

    `contributions` keeps, by symbol and strategy version, the part that each version asked for.
    `seen` is the oldest bar that any of the strategies saw last of a symbol. `quotas` are what each
    version may use of the equity.
    """

    version: str
    weights: Mapping[str, float | None]
    contributions: Mapping[str, Mapping[str, float]]
    seen: Mapping[str, SeenBar]
    quotas: Mapping[str, float] = field(default_factory=dict)

    def versions_of(self, symbol: str) -> str:
        """Return the strategy versions behind a symbol's weight, joined by "+"; the portfolio's
        version where none is.
        """
        return "+".join(sorted(self.contributions.get(symbol, {}))) or self.version


def portfolio_version(quotas: Mapping[str, float]) -> str:
    """Return the name of a portfolio of versions: "trend/3" or "carry/1*0.4+trend/3*0.6"."""
    if len(quotas) == 1 and next(iter(quotas.values())) == 1:
        return next(iter(quotas))
    return "+".join(f"{version}*{quota:g}" for version, quota in sorted(quotas.items()))


def allocate(targets: Sequence[StrategyTargets]) -> PortfolioTargets:
    """Return the sum of quota x weight by symbol.

    A symbol on which any of its strategies has no decision is held as a whole: the account has one
    position in it, and trading the part of those that did decide would sell the part of the one
    that did not. Raises ConfigError where quotas are negative, sum to more than one, or a version
    comes twice.
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
