"""A rehearsal trades a backtest on the paper exchange, and finds what the backtest cannot."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from penstock.adapters.exchanges.bars_market import BarsMarketData
from penstock.core.bars import require_bars
from penstock.core.clock import SteppedClock
from penstock.core.errors import PromotionError
from penstock.core.instruments import Instrument
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.ports import Exchange, LoadedModel, ModelVersion
from penstock.promotion.criteria import PromotionThresholds
from penstock.promotion.evidence import Evidence
from penstock.promotion.rehearsal import rehearse
from penstock.research.engine.costs import Costs
from penstock.simulation.fill_model import FillModel
from penstock.simulation.paper import PaperExchange
from strategies.ma_cross import MovingAverageCross

START = datetime(2024, 1, 1, tzinfo=UTC)
BARS = 160
THRESHOLDS = PromotionThresholds()


class ForgetfulCross(MovingAverageCross):
    """Says that it needs less history than it does."""

    @property
    def warmup_bars(self) -> int:
        return super().warmup_bars - 5


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    random = np.random.default_rng(5)
    frames = []
    for symbol, price in (("AAA/USDT", 100.0), ("BBB/USDT", 3.0)):
        swing = 0.01 * np.sin(np.arange(BARS) / 6)
        close = price * np.exp(np.cumsum(random.normal(swing, 0.02)))
        opened = np.concatenate([[price], close[:-1]]).round(2)
        ts = [START + timedelta(days=i) for i in range(BARS)]
        values = {
            "open": opened,
            "high": np.maximum(opened, close),
            "low": np.minimum(opened, close),
            "close": close,
        }
        frames.append(
            pl.DataFrame({"symbol": symbol, "ts": ts, **values, "volume": np.full(BARS, 1e9)})
        )
    return require_bars(pl.concat(frames), "synthetic").sort("symbol", "ts")


@pytest.fixture
def tested(evidence: Callable[..., Evidence]) -> Evidence:
    return evidence(
        symbols=("AAA/USDT", "BBB/USDT"),
        costs=Costs(fee_bps=10, slippage_bps=0),
        in_sample_end=START + timedelta(days=80),
        out_of_sample_start=START + timedelta(days=90),
        out_of_sample_end=START + timedelta(days=BARS - 1),
    )


def paper(
    min_notional: str = "5", slippage_bps: int = 0
) -> Callable[[pl.DataFrame, SteppedClock, Decimal], Exchange]:
    def listed(base: str) -> Instrument:
        step = Decimal("0.001")
        return Instrument(
            f"{base}/USDT", base, "USDT", Decimal("1e-6"), step, step, Decimal(min_notional)
        )

    def open_exchange(bars: pl.DataFrame, clock: SteppedClock, cash: Decimal) -> Exchange:
        instruments = {
            instrument.symbol: instrument for instrument in (listed("AAA"), listed("BBB"))
        }
        return PaperExchange(
            BarsMarketData({Timeframe.D1: bars}, instruments, clock),
            FillModel(slippage_bps=Decimal(slippage_bps)),
            {"USDT": cash},
        )

    return open_exchange


def registered(strategy: Strategy) -> LoadedModel:
    return LoadedModel(ModelVersion("model", "1", "run", (), {}), strategy)


def cross(kind: type[Strategy] = MovingAverageCross, exposure: float = 0.9) -> LoadedModel:
    return registered(kind.from_params({"fast_bars": 5, "slow_ratio": 2.0, "exposure": exposure}))


def policy(band: str = "0") -> RebalancePolicy:
    return RebalancePolicy(no_trade_band=Decimal(band), slippage_bps=Decimal(0))


def test_candidate_that_trades_as_backtested_passes(bars: pl.DataFrame, tested: Evidence) -> None:
    """Same decisions, every order taken, equity within a few basis points of the backtest's."""
    done = rehearse(cross(), bars, tested, policy(), paper(), slots=40)
    verdict = done.verdict(THRESHOLDS)
    assert verdict.passed, verdict.reason
    assert done.slots == 40
    assert done.orders > 20
    assert abs(done.difference) < 1e-3
    assert done.equity != done.backtest_equity, "lots are rounded here and not in the backtest"


def test_too_short_warm_up_is_found(bars: pl.DataFrame, tested: Evidence) -> None:
    """Live sees only the warm window: a strategy that needs more decides otherwise there."""
    done = rehearse(cross(ForgetfulCross), bars, tested, policy(), paper(), slots=40)
    assert done.changed
    verdict = done.verdict(THRESHOLDS)
    assert not verdict.passed
    assert "differ from the backtest's" in verdict.reason


def test_account_that_cannot_follow_its_backtest_fails(
    bars: pl.DataFrame, tested: Evidence
) -> None:
    """A venue whose smallest order is larger than the account leaves it in cash: far from its
    backtest.
    """
    done = rehearse(cross(), bars, tested, policy(), paper(min_notional="1000000"), slots=40)
    assert done.orders == 0
    assert not done.verdict(THRESHOLDS).passed


def test_order_that_the_venue_refuses_fails_the_rehearsal(
    bars: pl.DataFrame, tested: Evidence
) -> None:
    """All of the equity is wanted, and the policy keeps back less than the venue's prices take.
    Funds do not suffice.
    """
    done = rehearse(cross(exposure=1.0), bars, tested, policy(), paper(slippage_bps=50), slots=40)
    assert done.refused
    verdict = done.verdict(PromotionThresholds(max_rehearsal_difference=10))
    assert not verdict.passed
    assert "refused: buy" in verdict.reason


def test_rehearsal_needs_a_bar_to_trade_on(bars: pl.DataFrame, tested: Evidence) -> None:
    """The newest bar's decision has no next open yet."""
    only_last = tested.model_copy(update={"out_of_sample_start": tested.out_of_sample_end})
    with pytest.raises(PromotionError, match="followed by another"):
        rehearse(cross(), bars, only_last, policy(), paper())
