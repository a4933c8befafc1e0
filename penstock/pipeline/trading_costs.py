"""What trading costs: for a study, as its portfolio trades."""

from penstock.research.engine.costs import Costs
from penstock.wiring import Platform


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
