"""What `penstock costs` shows."""

import yaml

from penstock.interfaces.cli.tables import costs_lines, costs_table
from penstock.pipeline.trading_costs import AccountCosts
from penstock.research.engine.costs import Costs, InstrumentRules
from penstock.research.engine.measured_costs import LiveCosts, MeasuredCosts

MEASURED = MeasuredCosts("BTC/USDT", 20, 12_345.6, 7.5, 4.251, 0.5, None, None)


def test_costs_are_shown_with_lines_that_the_configuration_takes() -> None:
    """What was measured is a mapping of configs/costs.yaml; what is unknown is empty."""
    own = InstrumentRules(symbol="BTC/USDT", fee_bps=7.5, slippage_bps=4.25)
    found = AccountCosts(
        "main", (MEASURED,), LiveCosts(20, 11.75, 0.5, 10), Costs(instruments=(own,))
    )
    assert costs_table(found.measured).rows() == [
        ("BTC/USDT", "20", "12,346", "7.50", "4.25", "0.50", "", "")
    ]
    first, _, *lines = costs_lines(found)
    assert "more than the 10.0 bps" in first
    assert "not measurably" not in first
    assert Costs.model_validate(yaml.safe_load("\n".join(lines))).instruments == (own,)


def test_too_few_orders_are_called_so() -> None:
    """Neither a comparison nor a proposal is made of them."""
    (line,) = costs_lines(AccountCosts("main", (MEASURED,), None, Costs()))
    assert "too few" in line
