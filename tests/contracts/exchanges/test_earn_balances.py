"""Balances in earn programmes: unmodified ccxt over the answers of Binance and of Kraken."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from penstock.core.earn_balances import EarnBalance
from tests.contracts.exchanges.constructed_venue import Said, account_at


def test_what_binance_lists_as_lent_is_named_and_not_tradable() -> None:
    """LDAAA is AAA in Simple Earn. LDO is a coin, and so is what no market explains."""
    held = {"AAA": "0.001", "USDT": "5", "LDAAA": "0.599", "LDO": "7"}
    rows = [{"asset": name, "free": held[name], "locked": "0"} for name in held]

    def answer(method: str, path: str, fields: Mapping[str, Any]) -> Said:
        return 200, {"balances": rows, "updateTime": 1}

    exchange, _ = account_at("binance", answer)
    assert exchange.balances() == {
        "AAA": Decimal("0.001"),
        "USDT": Decimal(5),
        "LDO": Decimal(7),
    }
    assert exchange.earn_balances() == [
        EarnBalance("AAA", "LDAAA", Decimal("0.599"), "Binance Simple Earn")
    ]


def test_what_kraken_marks_with_f_counts_and_what_is_staked_is_named() -> None:
    """AAA.F is traded as AAA is, free and locked alike. AAA.S and AAA.M are not."""
    held = {"AAA": "0.001", "AAA.F": "0.5", "AAA.S": "2", "AAA.M": "3", "USDT.F": "10"}
    rows = {name: {"balance": held[name], "hold_trade": "0"} for name in held}

    def answer(method: str, path: str, fields: Mapping[str, Any]) -> Said:
        return 200, {"error": [], "result": rows}

    exchange, _ = account_at("kraken", answer)
    tradable = {"AAA": Decimal("0.501"), "USDT": Decimal(10)}
    assert (exchange.balances(), exchange.free_balances()) == (tradable, tradable)
    assert [(each.name, each.quantity, each.programme) for each in exchange.earn_balances()] == [
        ("AAA.S", Decimal(2), "Kraken staking"),
        ("AAA.M", Decimal(3), "Kraken opt-in rewards"),
    ]
