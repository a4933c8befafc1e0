"""Signed calls about an account that no order needs: fees, counts, and what the exchange has not.

Clients ask for them before they trade. What a practice exchange has none of (networks, margin
pairs, prevented matches) is an empty list, in Binance's shape.
"""

from collections.abc import Callable
from typing import Any

from penstock.practice import binance_json
from penstock.practice.accounts import PracticeAccount
from penstock.practice.limits import Limiter
from penstock.practice.matching import MatchingEngine
from penstock.practice.parameters import (
    INT,
    LONG,
    PERIOD,
    SYMBOL,
    Parameter,
    Parameters,
    Route,
    Weight,
    may,
    needs,
    table,
)
from penstock.practice.symbol_choice import chosen

Handler = Callable[[PracticeAccount, Parameters], Any]

_ONE_SYMBOL = (needs("symbol", SYMBOL),)
_ORDERS = (*PERIOD, may("orderId", LONG))


class WalletApi:
    """Answers for one authenticated account that change nothing."""

    def __init__(self, engine: MatchingEngine, limiter: Limiter) -> None:
        self.engine = engine
        self.limiter = limiter

    def routes(self) -> dict[str, Route[Handler]]:
        """Return the routes by method and path."""
        match, later = may("preventedMatchId", LONG), may("fromPreventedMatchId", LONG)
        prevented = (*_ONE_SYMBOL, *_ORDERS, match, later)
        allocations = (*_ONE_SYMBOL, *_ORDERS, may("fromAllocationId", INT))
        return table(
            _get("/api/v3/account/commission", self.commission, _ONE_SYMBOL, 20),
            _get("/api/v3/rateLimit/order", self.order_counts, weight=40),
            _get("/api/v3/myPreventedMatches", _none, prevented, _weight_of_prevented),
            _get("/api/v3/myAllocations", _none, allocations, 20),
            _get("/sapi/v1/asset/tradeFee", self.trade_fees, (may("symbol", SYMBOL),)),
            _get("/sapi/v1/capital/config/getall", _none),
            _get("/sapi/v1/margin/allPairs", _none, (may("symbol", SYMBOL),)),
            _get("/sapi/v1/margin/isolated/allPairs", _none, (may("symbol", SYMBOL),)),
            _get("/sapi/v1/account/status", lambda *_: {"data": "Normal"}),
            _get("/sapi/v1/account/apiTradingStatus", self.trading_status),
            _get("/sapi/v1/account/apiRestrictions", self.key_permissions),
        )

    def commission(self, _: PracticeAccount, parameters: Parameters) -> Any:
        """Return what a symbol's trades cost."""
        listing = self.engine.market.listing(parameters["symbol"])
        model = self.engine.fill_model
        none = dict.fromkeys(("maker", "taker", "buyer", "seller"), "0.00000000")
        return {
            "symbol": listing.wire,
            "standardCommission": none | self._rates(),
            "specialCommission": none,
            "taxCommission": none,
            "discount": {
                "enabledForAccount": model.fee_asset == "BNB",
                "enabledForSymbol": model.fee_asset == "BNB",
                "discountAsset": "BNB",
                "discount": "1.00000000",
            },
        }

    def trade_fees(self, _: PracticeAccount, parameters: Parameters) -> Any:
        """Return the rates of the symbol asked for, or of all."""
        rates = self._rates()
        return [
            {
                "symbol": listing.wire,
                "makerCommission": rates["maker"],
                "takerCommission": rates["taker"],
            }
            for listing in chosen(self.engine.market, parameters)
        ]

    def order_counts(self, account: PracticeAccount, _: Parameters) -> Any:
        """Return how many orders the account has placed in each window, beside its limit."""
        counts = self.limiter.order_counts(account.api_key)
        rows = binance_json.rate_limits_answer(self.limiter.spec)
        return [
            {**row, "count": counts[row["interval"]]}
            for row in rows
            if row["rateLimitType"] == "ORDERS"
        ]

    def trading_status(self, *_: Any) -> Any:
        now = self.engine.venue.time.now_ms()
        return {
            "data": {
                "isLocked": False,
                "plannedRecoverTime": 0,
                "triggerCondition": {},
                "updateTime": now,
            }
        }

    def key_permissions(self, *_: Any) -> Any:
        may = ("enableReading", "enableSpotAndMarginTrading")
        may_not = (
            *("ipRestrict", "enableWithdrawals", "enableInternalTransfer", "enableMargin"),
            *("enableFutures", "permitsUniversalTransfer", "enableVanillaOptions"),
            *("enableFixApiTrade", "enableFixReadOnly", "enablePortfolioMarginTrading"),
        )
        return {
            **dict.fromkeys(may, True),
            **dict.fromkeys(may_not, False),
            "createTime": self.engine.venue.time.now_ms(),
        }

    def _rates(self) -> dict[str, str]:
        model = self.engine.fill_model
        return {
            name: binance_json.text(model.fee_bps(is_maker=name == "maker") / 10_000)
            for name in ("maker", "taker")
        }


def _none(*_: Any) -> Any:
    """Return an empty list: the exchange has none of these."""
    return []


def _weight_of_prevented(parameters: Parameters) -> int:
    return 2 if "preventedMatchId" in parameters else 20


def _get(
    path: str, handler: Handler, reads: tuple[Parameter, ...] = (), weight: Weight = 1
) -> Route[Handler]:
    return Route("GET", path, handler, reads, weight, is_signed=True)
