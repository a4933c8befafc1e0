"""The figures of an equity curve, and the statistics that tell how much of a Sharpe ratio is luck.

Formulas use the simple returns r_1..r_n per bar, of the equity at each close. The risk-free rate is
zero. The curve takes T years of 365 days from its first close to its last. T is elapsed time: bars
that are missing do not shorten it. A ratio whose denominator is rounding is 0.0, never huge or
infinite: a curve without risk or trades cannot win a search. Where the equity is not a number, no
figure of its returns is one: unknown is not zero.
"""

import math
from dataclasses import dataclass
from datetime import timedelta
from statistics import NormalDist

import numpy as np

from penstock.research.engine.market import Matrix
from penstock.research.engine.results import BacktestMetrics

_EULER_GAMMA = 0.5772156649015329
_NORMAL = NormalDist()
_YEAR = timedelta(days=365)
#: A deviation under this fraction of the mean return is what is left of sums over millions of equal
#: returns. No traded curve is so smooth.
_ROUNDING = 3e-5
#: The most that the logarithm of a year's growth can be: an hour of minutes that gains a tenth has
#: more than a float can hold.
_LARGEST_GROWTH = 100.0
#: A return or a fall that is smaller is the rounding of an equity.
_SMALLEST_MOVE = 1e-14


@dataclass(frozen=True)
class Moments:
    """Sums over one equity curve, from which `metrics_of` makes the figures."""

    returns: int
    """The number of per-bar returns."""
    total: float
    """The sum of the returns."""
    total2: float
    """The sum of their squares."""
    total3: float
    """The sum of their third powers."""
    total4: float
    """The sum of their fourth powers."""
    downside2: float
    """The sum of the squares of the negative returns."""
    max_drawdown: float
    """The largest fall from a peak, as a positive fraction of the peak."""
    traded: float
    """The notional of all orders, in quote units."""
    orders: int
    """The number of orders."""
    unfilled: float
    """The notional that was ordered beyond the volume of the bars, in quote units; -1 where nobody
    measured it.
    """
    equity_sum: float
    """The sum of the equity over bars."""
    first_equity: float
    """The equity at the first close."""
    final_equity: float
    """The equity at the last close."""


def moments_of(
    equity: Matrix, traded: float = 0.0, orders: int = 0, unfilled: float = -1.0
) -> Moments:
    """Return the sums over `equity`, one value per bar, for a curve that is not the kernel's."""
    r = equity[1:] / equity[:-1] - 1
    peaks = np.maximum.accumulate(equity)
    return Moments(
        returns=len(r),
        total=float(r.sum()),
        total2=float((r**2).sum()),
        total3=float((r**3).sum()),
        total4=float((r**4).sum()),
        downside2=float((np.minimum(r, 0) ** 2).sum()),
        max_drawdown=float((1 - equity / peaks).max()),
        traded=traded,
        orders=orders,
        unfilled=unfilled,
        equity_sum=float(equity.sum()),
        first_equity=float(equity[0]),
        final_equity=float(equity[-1]),
    )


def metrics_of(moments: Moments, elapsed: timedelta) -> BacktestMetrics:
    """Return the figures of a curve that takes `elapsed` from its first close to its last.

    - annual return = (1 + total return)^(1/T) - 1
    - annual volatility = s * sqrt(n/T), where s is the sample deviation (n - 1) of r
    - Sharpe = mean(r) / s * sqrt(n/T): Sharpe, Journal of Portfolio Management 21, 1994
    - Sortino = mean(r) / sqrt(mean(min(r, 0)^2)) * sqrt(n/T): Sortino and Price, Journal of
      Investing 3, 1994
    - Calmar = annual return / maximum drawdown: Young, Futures, October 1991
    - turnover = notional traded / mean equity / T
    - unfilled share = notional that volume did not fill / (that and the notional traded)
    """
    n, years = moments.returns, elapsed / _YEAR
    per_year = n / years if years > 0 else 0.0
    mean, deviation, skewness, kurtosis = _shape(moments)
    total_return = moments.final_equity / moments.first_equity - 1
    annual_return = (
        math.expm1(min(math.log1p(total_return) / years, _LARGEST_GROWTH))
        if years > 0 and total_return > -1
        else total_return
    )
    sharpe = _ratio(mean, deviation)
    downside = math.sqrt(moments.downside2 / max(n, 1))
    if downside <= _rounding(mean):
        downside = 0.0
    fall = 0.0 if moments.max_drawdown <= _SMALLEST_MOVE else moments.max_drawdown
    return BacktestMetrics(
        total_return=total_return,
        annual_return=annual_return,
        annual_volatility=deviation * math.sqrt(per_year),
        sharpe=sharpe * math.sqrt(per_year),
        sortino=_ratio(mean, downside) * math.sqrt(per_year),
        max_drawdown=moments.max_drawdown,
        calmar=_ratio(annual_return, fall),
        turnover=_ratio(moments.traded / (moments.equity_sum / (n + 1)), years),
        orders=moments.orders,
        bars=n + 1,
        final_equity=moments.final_equity,
        skewness=skewness,
        kurtosis=kurtosis,
        probabilistic_sharpe=0.0
        if deviation <= 0
        else probabilistic_sharpe(sharpe, n, skewness, kurtosis),
        unfilled_share=_ratio(moments.unfilled, moments.unfilled + moments.traded)
        if moments.unfilled >= 0
        else -1.0,
    )


def probabilistic_sharpe(
    sharpe: float, returns: int, skewness: float, kurtosis: float, benchmark: float = 0.0
) -> float:
    """Return the probability that the true Sharpe ratio is above `benchmark`.

    Both ratios are per bar; `kurtosis` is raw (a normal distribution has 3).

    PSR = Phi((SR - SR*) sqrt(n - 1) / sqrt(1 - g3 SR + (g4 - 1)/4 SR^2)). Source: Bailey and Lopez
    de Prado, The Sharpe ratio efficient frontier, Journal of Risk 15(2), 2012, equation 11.

    >>> round(probabilistic_sharpe(0.1, 252, 0.0, 3.0), 3)
    0.943
    """
    if returns < 2:
        return 0.0
    spread = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
    return _NORMAL.cdf(
        (sharpe - benchmark) * math.sqrt(returns - 1) / math.sqrt(max(spread, 1e-12))
    )


def expected_best_sharpe(trial_variance: float, trials: int) -> float:
    """Return the Sharpe ratio to expect of the best of `trials` worthless trials.

    `trial_variance` is the variance V of their ratios. With g Euler's constant and Z the normal
    quantile, SR0 = sqrt(V) ((1 - g) Z(1 - 1/N) + g Z(1 - 1/(N e))). Source: Bailey and Lopez de
    Prado, The deflated Sharpe ratio, Journal of Portfolio Management 40(5), 2014, equation 1. For
    one trial it is 0.
    """
    if trials < 2:
        return 0.0
    usual, extreme = _NORMAL.inv_cdf(1 - 1 / trials), _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(max(trial_variance, 0.0)) * (
        (1 - _EULER_GAMMA) * usual + _EULER_GAMMA * extreme
    )


def deflated_sharpe(
    sharpe: float,
    returns: int,
    skewness: float,
    kurtosis: float,
    trial_variance: float,
    trials: int,
) -> float:
    """Return the probability that the best of `trials` is better than luck.

    The ratio and the variance are per bar; `kurtosis` is raw. `trials` is the true number that was
    tried, discarded ones included. DSR is the PSR against the expected best of as many worthless
    trials: Bailey and Lopez de Prado 2014, equation 2.
    """
    return probabilistic_sharpe(
        sharpe, returns, skewness, kurtosis, expected_best_sharpe(trial_variance, trials)
    )


def _shape(moments: Moments) -> tuple[float, float, float, float]:
    """Return mean, sample deviation, skewness and raw kurtosis of the returns.

    A curve whose returns are all the same, as far as sums can tell, has a deviation of zero, and
    the skewness and kurtosis of a normal distribution.
    """
    n = max(moments.returns, 1)
    mean = moments.total / n
    variance = max(moments.total2 / n - mean**2, 0.0)
    if n < 2 or math.sqrt(variance) <= _rounding(mean):
        return mean, 0.0, 0.0, 3.0
    third = moments.total3 / n - 3 * mean * moments.total2 / n + 2 * mean**3
    fourth = (
        moments.total4 / n
        - 4 * mean * moments.total3 / n
        + 6 * mean**2 * moments.total2 / n
        - 3 * mean**4
    )
    return mean, math.sqrt(variance * n / (n - 1)), third / variance**1.5, fourth / variance**2


def _rounding(mean: float) -> float:
    """Return the deviation of returns that rounding alone can show."""
    return max(_ROUNDING * abs(mean), _SMALLEST_MOVE)


def _ratio(numerator: float, denominator: float) -> float:
    """Return the ratio; 0 over what is not above zero, and unknown over what is unknown."""
    if math.isnan(numerator) or math.isnan(denominator):
        return math.nan
    return numerator / denominator if denominator > 0 else 0.0
