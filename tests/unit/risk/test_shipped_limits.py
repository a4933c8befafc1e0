"""What configs/risk.yaml ships. Every limit and rule is described where users look."""

from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from penstock.core.halts import TradingState
from penstock.risk.limits import RiskLimits
from penstock.risk.protection import STOP_NAMES
from penstock.risk.review import RULES, rules_of

ROOT = Path(__file__).parents[3]


@pytest.fixture
def shipped() -> RiskLimits:
    return RiskLimits.model_validate(yaml.safe_load((ROOT / "configs" / "risk.yaml").read_text()))


def test_file_names_every_limit_there_is() -> None:
    """A limit that is left out would be in force, or off, without being seen."""
    assert set(yaml.safe_load((ROOT / "configs" / "risk.yaml").read_text())) == set(
        RiskLimits.model_fields
    )


def test_shipped_limits_are_the_promised_ones(shipped: RiskLimits) -> None:
    """80% gross and net, 50% in one symbol, 5% a day, 20% from the peak, and both anomalies watched
    for.
    """
    assert (shipped.max_gross, shipped.max_net, shipped.max_weight) == (
        Decimal("0.8"),
        Decimal("0.8"),
        Decimal("0.5"),
    )
    assert shipped.daily_loss is not None
    assert shipped.drawdown is not None
    assert (shipped.daily_loss.limit, shipped.drawdown.limit) == (Decimal("0.05"), Decimal("0.2"))
    assert shipped.drawdown.trading_state is TradingState.REDUCE_ONLY
    names = {rule.name for rule in rules_of(shipped)}
    assert {
        "price_collar",
        "volatility_filter",
        "stale_bars",
        "target_jump",
        "turnover_burst",
        "strategy_quota",
    } <= names
    assert {"max_order_notional", "max_orders_per_minute", "max_orders_per_day"} <= names


def test_table_of_the_architecture_has_every_rule() -> None:
    """Whoever reads it has read of all that can hold an order back."""
    page = (
        (ROOT / "docs" / "architecture.md")
        .read_text()
        .partition("## The rules of risk")[2]
        .partition("\n## ")[0]
    )
    named = {
        name
        for line in page.splitlines()
        if line.startswith("|")
        for name in line.split("|")[1].split(", ")
    }
    assert {rule.name for rule in RULES} | STOP_NAMES == {n.strip() for n in named} - {
        "Rule",
        "---",
    }
