"""What trading costs: of a study, as its portfolio trades; of an account, by its own orders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from penstock.core.actors import Actor
from penstock.core.bars import TS
from penstock.core.instruments import spot_assets, spot_symbol
from penstock.core.order_records import OrderRecord
from penstock.core.orders import Fill
from penstock.core.timeframes import Timeframe
from penstock.pipeline.use_case import use_case
from penstock.promotion.criteria import CriterionResult
from penstock.research.engine.costs import Costs
from penstock.research.engine.measured_costs import (
    FilledOrder,
    LiveCosts,
    MeasuredCosts,
    live_costs,
    measure_costs,
    proposed_costs,
)
from penstock.wiring import Platform

#: The number of orders that are read, the newest ones.
NEWEST_ORDERS = 2_000
#: The venue's clock may be behind ours, which stamps the orders.
_CLOCKS_APART = timedelta(hours=1)


def study_costs(platform: Platform, study_name: str) -> Costs:
    """Return what a study is simulated with: configs/costs.yaml, and how the portfolio of the same
    name trades.

    That is its no-trade band, what its buys leave for costs, what it never sells, and the venue's
    steps and smallest orders, as they were stored with the bars. A study without such a portfolio
    has the costs alone.
    """
    settings = platform.settings
    if not settings.has_portfolio(study_name):
        return settings.costs
    policy = settings.portfolio(study_name).rebalancing
    symbols = settings.universe.symbols_of(settings.study(study_name).timeframe)
    instruments = platform.bars.read_instruments(platform.exchange_name, symbols)
    return settings.costs.as_live(
        policy.no_trade_band,
        policy.cost_fraction,
        [instruments[symbol] for symbol in sorted(instruments)],
        policy.keep,
    )


@dataclass(frozen=True)
class AccountCosts:
    """What the newest orders of an account cost."""

    account: str
    """The account's name."""
    measured: tuple[MeasuredCosts, ...]
    """One entry per symbol, sorted."""
    against: LiveCosts | None
    """All of them against configs/costs.yaml; None where they are too few to judge."""
    proposed: Costs
    """The configured costs, with what was measured where orders were enough."""


@use_case
def measure_account_costs(
    platform: Platform, actor: Actor, portfolio: str, orders: int = NEWEST_ORDERS
) -> AccountCosts:
    """Measure what the newest `orders` orders of a portfolio's account cost.

    Slippage is against the price that each was decided with: the ledger keeps no mid price of the
    instant at which an order arrived. Nothing is changed.
    """
    measured = measure_costs(_filled_orders(platform, portfolio, orders))
    costs = platform.settings.costs
    return AccountCosts(
        account=platform.environment.account_of(portfolio).name,
        measured=measured,
        against=live_costs(measured, costs),
        proposed=proposed_costs(costs, measured),
    )


def live_costs_verdict(
    platform: Platform, portfolio: str, assumed: Costs
) -> CriterionResult | None:
    """Return what the account's orders cost against what a candidate's evidence assumed.

    None where there is no account, or it has too few orders.
    """
    if portfolio not in platform.environment.accounts:
        return None
    found = live_costs(measure_costs(_filled_orders(platform, portfolio, NEWEST_ORDERS)), assumed)
    return None if found is None else costs_verdict(found)


def costs_verdict(found: LiveCosts) -> CriterionResult:
    """Return live costs as a verdict of the gate. It warns, and refuses nobody."""
    compared = "MORE than" if found.exceeds else "not measurably more than"
    reason = (
        f"{found.orders} orders of the account cost {found.paid_bps:.1f} bps "
        f"(+- {2 * found.error_bps:.1f}), {compared} the {found.assumed_bps:.1f} bps of the "
        "backtest: a warning, not judged"
    )
    return CriterionResult(
        "live_costs", True, found.paid_bps, found.assumed_bps, reason, judged=False
    )


def _filled_orders(platform: Platform, portfolio: str, limit: int) -> list[FilledOrder]:
    """Return the account's newest orders that have fills; those of one timeframe's bars have their
    share of the volume.
    """
    account = platform.environment.account_of(portfolio).name
    orders = {
        order.request.client_order_id: order
        for order in platform.ledger.newest_orders(account, limit)
        if order.filled_quantity
    }
    if not orders:
        return []
    since = min(order.created_at for order in orders.values()) - _CLOCKS_APART
    fills = [
        fill
        for fill in platform.ledger.fills(account, None, since)
        if fill.client_order_id in orders
    ]
    if not fills:
        return []
    timeframe = platform.settings.portfolio(portfolio).timeframe
    bars = _bars_of(platform, timeframe, fills)
    return list(_costed(orders, fills, bars, timeframe))


def _bars_of(platform: Platform, timeframe: Timeframe, fills: Sequence[Fill]) -> pl.DataFrame:
    """Return the stored bars in which these fills, and prices of their fees, are."""
    quote = platform.settings.universe.quote
    fees = {spot_symbol(fill.fee_asset, quote) for fill in fills if fill.fee_asset != quote}
    symbols = sorted({fill.symbol for fill in fills} | fees)
    first, last = (chosen(fill.at for fill in fills) for chosen in (min, max))
    return platform.bars.read_bars(
        platform.exchange_name,
        timeframe,
        symbols,
        first - timeframe.duration,
        last + timeframe.duration,
    )


def _costed(
    orders: dict[str, OrderRecord],
    fills: Sequence[Fill],
    bars: pl.DataFrame,
    timeframe: Timeframe,
) -> Iterator[FilledOrder]:
    rows = [
        (
            fill.client_order_id,
            fill.symbol,
            float(fill.quantity),
            float(fill.notional),
            _known_fee(fill),
            spot_symbol(fill.fee_asset, spot_assets(fill.symbol)[1]),
            float(fill.fee),
            fill.at,
        )
        for fill in fills
    ]
    columns = ["order", "symbol", "quantity", "notional", "fee", "fee_symbol", "amount", "at"]
    opened = pl.col("at").dt.truncate(timeframe.value).cast(TS).alias("ts")
    volumes = bars.select("symbol", "ts", "volume")
    closes = bars.select("ts", fee_symbol="symbol", fee_price="close")
    table = (
        pl.DataFrame(rows, columns, orient="row", infer_schema_length=None)
        .with_columns(opened)
        .join(volumes, on=["symbol", "ts"], how="left")
        .join(closes, on=["fee_symbol", "ts"], how="left")
        .with_columns(fee=pl.coalesce("fee", pl.col("amount") * pl.col("fee_price")))
        .group_by("order", maintain_order=True)
        .agg(
            pl.col("quantity", "notional").sum(),
            volume=pl.col("volume").first(),
            # One fee that is unknown makes the order's unknown.
            fee=pl.when(pl.col("fee").is_not_null().all()).then(pl.col("fee").sum()),
        )
    )
    for name, quantity, notional, volume, fee in table.iter_rows():
        order = orders[name]
        yield FilledOrder(
            symbol=order.request.symbol,
            side=order.request.side.sign,
            quantity=quantity,
            price=notional / quantity,
            decided_at=float(order.reference_price),
            fee=fee,
            volume_share=quantity / volume if volume else None,
        )


def _known_fee(fill: Fill) -> float | None:
    """Return a fill's fee in quote units where it was paid in base or quote; else None."""
    base, quote = spot_assets(fill.symbol)
    if fill.fee_asset == quote:
        return float(fill.fee)
    return float(fill.fee * fill.price) if fill.fee_asset == base else None
