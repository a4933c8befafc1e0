"""What a request may say of an order: the parameters of each order type, and what is refused."""

from penstock.core.orders import Side
from penstock.practice.accounts import ZERO, PracticeOrder
from penstock.practice.binance_errors import (
    PracticeRefusal,
    missing_either,
    unneeded_parameter,
    unsupported,
)
from penstock.practice.filters import SymbolRules, check_precision
from penstock.practice.parameters import (
    CANCEL_RESTRICTIONS,
    CLIENT_ID,
    DECIMAL,
    INT,
    LONG,
    NEW_CLIENT_ID,
    ORDER_TYPE,
    PEG_OFFSET_TYPE,
    PEG_PRICE_TYPE,
    RESPONSE_TYPE,
    SIDE,
    STP_MODE,
    SYMBOL,
    TIME_IN_FORCE,
    Parameters,
    decimal,
    integer,
    may,
    needs,
    one_of,
    required,
)

#: What each order type needs beside symbol, side and type. A market order has one of two amounts.
NEEDED = {
    "LIMIT": ("timeInForce", "quantity", "price"),
    "LIMIT_MAKER": ("quantity", "price"),
    "MARKET": (),
    "STOP_LOSS": ("quantity", "stopPrice"),
    "STOP_LOSS_LIMIT": ("timeInForce", "quantity", "price", "stopPrice"),
    "TAKE_PROFIT": ("quantity", "stopPrice"),
    "TAKE_PROFIT_LIMIT": ("timeInForce", "quantity", "price", "stopPrice"),
}
_BY_TYPE = ("timeInForce", "quantity", "quoteOrderQty", "price", "stopPrice")
_AMOUNTS = ("quantity", "quoteOrderQty")
#: Orders never meet each other here, so each of these modes has nothing to do.
STP_MODES = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
_LEAST_STRATEGY_TYPE = 1_000_000

#: What a new order may carry.
NEW_ORDER = (
    needs("symbol", SYMBOL),
    needs("side", SIDE),
    needs("type", ORDER_TYPE),
    may("timeInForce", TIME_IN_FORCE),
    may("quantity", DECIMAL),
    may("quoteOrderQty", DECIMAL),
    may("price", DECIMAL),
    may("newClientOrderId", NEW_CLIENT_ID),
    may("strategyId", LONG),
    may("strategyType", INT),
    may("stopPrice", DECIMAL),
    may("trailingDelta", LONG),
    may("icebergQty", DECIMAL),
    may("newOrderRespType", RESPONSE_TYPE),
    may("selfTradePreventionMode", STP_MODE),
    may("pegPriceType", PEG_PRICE_TYPE),
    may("pegOffsetValue", INT),
    may("pegOffsetType", PEG_OFFSET_TYPE),
)
#: What a request about one order may carry.
ONE_ORDER = (needs("symbol", SYMBOL), may("orderId", LONG), may("origClientOrderId", CLIENT_ID))
#: What a cancellation may carry.
CANCEL_ORDER = (
    *ONE_ORDER,
    may("newClientOrderId", NEW_CLIENT_ID),
    may("cancelRestrictions", CANCEL_RESTRICTIONS),
)
#: What a cancellation with a new order in its place may carry.
CANCEL_REPLACE = (
    *NEW_ORDER,
    needs("cancelReplaceMode", one_of("STOP_ON_FAILURE", "ALLOW_FAILURE")),
    may("cancelOrderId", LONG),
    may("cancelOrigClientOrderId", CLIENT_ID),
    may("cancelNewClientOrderId", NEW_CLIENT_ID),
    may("cancelRestrictions", CANCEL_RESTRICTIONS),
    may("orderRateLimitExceededMode", one_of("DO_NOTHING")),
)


def order_from(
    parameters: Parameters, rules: SymbolRules, client_id: str, now_ms: int
) -> PracticeOrder:
    """Return the order that a request describes.

    Raises PracticeRefusal for what its type lacks or does not take, for what no symbol takes, and
    where a number breaks the symbol's filters.
    """
    kind = parameters["type"]
    _refuse_unsupported(parameters)
    _check_set(parameters, kind)
    quantity, price, stop = (
        decimal(parameters, name) for name in ("quantity", "price", "stopPrice")
    )
    quote_quantity = decimal(parameters, "quoteOrderQty")
    if quantity is not None:
        rules.check_quantity(quantity, kind)
    if price is not None:
        rules.check_price(price)
    if stop is not None:
        rules.check_price(stop, "stopPrice")
    if quote_quantity is not None:
        check_precision(quote_quantity, "quoteOrderQty")
    return PracticeOrder(
        order_id=0,
        client_id=client_id,
        symbol=parameters["symbol"],
        side=Side[parameters["side"]],
        type=kind,
        time_in_force=parameters.get("timeInForce", "GTC"),
        quantity=quantity or ZERO,
        price=price or ZERO,
        created_ms=now_ms,
        updated_ms=now_ms,
        matched_to_ms=now_ms,
        stop_price=stop or ZERO,
        quote_quantity=quote_quantity or ZERO,
        self_trade_prevention=parameters.get("selfTradePreventionMode", "NONE"),
        strategy_id=integer(parameters, "strategyId"),
        strategy_type=integer(parameters, "strategyType"),
    )


def _check_set(parameters: Parameters, kind: str) -> None:
    """Raise -1102 for a parameter that an order's type lacks, -1106 for one that it does not take.

    A market order has a quantity or an amount in the quote asset.
    """
    needed = NEEDED[kind]
    if kind == "MARKET":
        needed = tuple(name for name in _AMOUNTS if name in parameters)[:1]
        if not needed:
            raise missing_either(*_AMOUNTS)
    for name in needed:
        required(parameters, name)
    for name in _BY_TYPE:
        if name in parameters and name not in needed:
            raise unneeded_parameter(name)


def _refuse_unsupported(parameters: Parameters) -> None:
    """Raise the refusal of what no symbol of the practice exchange takes, as exchangeInfo says."""
    for name, what in (
        ("trailingDelta", "Trailing stop orders"),
        ("icebergQty", "Iceberg orders"),
        ("pegPriceType", "Pegged orders"),
        ("pegOffsetValue", "Pegged orders"),
        ("pegOffsetType", "Pegged orders"),
    ):
        if name in parameters:
            raise unsupported(what)
    if parameters.get("selfTradePreventionMode", "NONE") not in STP_MODES:
        raise PracticeRefusal(
            -1013, "This symbol does not allow the specified self-trade prevention mode."
        )
    strategy = integer(parameters, "strategyType")
    if strategy is not None and strategy < _LEAST_STRATEGY_TYPE:
        raise PracticeRefusal(-1134, f"strategyType was less than {_LEAST_STRATEGY_TYPE}.")
