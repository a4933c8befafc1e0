"""Several strategies on one account."""

from datetime import UTC, datetime

import pytest

from penstock.core.errors import ConfigError
from penstock.core.proposals import SeenBar
from penstock.portfolio.allocation import (
    StrategyTargets,
    allocate,
    portfolio_version,
    quotas_of,
)

EARLY, LATE = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)


def test_weights_add_up_by_quota_and_keep_their_origin() -> None:
    """A symbol's weight is the sum of quota x weight, and each version's part is kept."""
    trend = StrategyTargets("trend/3", 0.6, {"BTC/USDT": 0.5, "ETH/USDT": 0.5})
    carry = StrategyTargets("carry/1", 0.4, {"BTC/USDT": 1.0})
    targets = allocate([trend, carry])
    assert targets.weights == pytest.approx({"BTC/USDT": 0.7, "ETH/USDT": 0.3})
    assert targets.contributions["BTC/USDT"] == pytest.approx({"trend/3": 0.3, "carry/1": 0.4})
    assert targets.version == "carry/1*0.4+trend/3*0.6"
    assert targets.versions_of("BTC/USDT") == "carry/1+trend/3"


def test_one_strategy_with_all_of_the_account_gives_its_own_version() -> None:
    """The usual case reads as the model version itself."""
    assert allocate([StrategyTargets("trend/3", 1.0, {"BTC/USDT": 0.5})]).version == "trend/3"


def test_symbol_one_strategy_is_undecided_on_is_held_as_a_whole() -> None:
    """Trading the part of one strategy would sell the part of the one that holds."""
    first = StrategyTargets("a/1", 0.5, {"BTC/USDT": None})
    second = StrategyTargets("b/1", 0.5, {"BTC/USDT": 0.2})
    assert allocate([first, second]).weights["BTC/USDT"] is None


def test_oldest_bar_of_any_strategy_counts() -> None:
    """A decision is as stale as the oldest bar behind it."""
    first = StrategyTargets("a/1", 0.5, {"BTC/USDT": 0.1}, {"BTC/USDT": SeenBar(LATE, 2.0)})
    second = StrategyTargets("b/1", 0.5, {"BTC/USDT": 0.1}, {"BTC/USDT": SeenBar(EARLY, 1.0)})
    assert allocate([first, second]).seen["BTC/USDT"].closed_at == EARLY


@pytest.mark.parametrize("quotas", [(0.6, 0.6), (-0.1, 0.5)])
def test_quotas_that_do_not_fit_one_account_are_refused(quotas: tuple[float, float]) -> None:
    """Quotas are fractions of one equity."""
    with pytest.raises(ConfigError, match="quotas"):
        allocate(
            [StrategyTargets(f"s/{n}", quota, {"BTC/USDT": 0.1}) for n, quota in enumerate(quotas)]
        )


def test_version_named_twice_is_refused() -> None:
    """The same version twice would count its weights twice."""
    with pytest.raises(ConfigError, match="once"):
        allocate([StrategyTargets("s/1", 0.1, {}), StrategyTargets("s/1", 0.1, {})])


@pytest.mark.parametrize(
    "quotas",
    [{"trend/3": 1.0}, {"trend/3": 0.75}, {f"s/{n}": 1 / 6 for n in range(6)}, {"a/1": 1e-05}],
)
def test_version_of_a_portfolio_has_its_quotas(quotas: dict[str, float]) -> None:
    """A slot that is run again is decided by what its version says, to the last digit."""
    assert quotas_of(portfolio_version(quotas)) == quotas


def test_version_that_was_written_with_six_digits_still_fits_one_account() -> None:
    """Older versions are on record with rounded quotas: six sixths were a little more than one."""
    quotas = quotas_of("+".join(f"s/{n}*0.166667" for n in range(6)))
    targets = [StrategyTargets(version, quota, {}) for version, quota in quotas.items()]
    assert sum(allocate(targets).quotas.values()) == pytest.approx(1)
