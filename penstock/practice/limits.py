"""Rate limits as Binance has them: request weights and order counts in fixed windows of real time.

Weights are counted per server (at Binance per address), orders per account. The headers of an
answer have the counts. Beyond a limit the answer is 429 with Retry-After. A client that goes on is
banned with 418.
"""

from dataclasses import dataclass, field

from penstock.core.clock import MachineClock
from penstock.practice.binance_errors import PracticeRefusal

_DAY = 86_400


@dataclass(frozen=True)
class LimitSpec:
    """The venue's rate limits. None is no limit."""

    weight_per_minute: int | None = 6000
    """Request weight per minute."""
    orders_per_10s: int | None = 50
    """Orders per 10 seconds and account."""
    orders_per_day: int | None = 160_000
    """Orders per day and account."""
    ban_after: int = 10
    """More refused requests than this in a minute lead to a ban."""
    ban_seconds: int = 120
    """How long a ban lasts."""


UNLIMITED = LimitSpec(None, None, None)


@dataclass
class RateWindow:
    """A counter that starts again at each whole multiple of `seconds`."""

    seconds: int
    """The window's length."""
    started: int = 0
    """When the present window began (Unix seconds)."""
    count: int = 0
    """The count in the present window."""

    def add(self, amount: int, now: float) -> int:
        """Add `amount` and return the count in the present window."""
        start = int(now) // self.seconds * self.seconds
        if start != self.started:
            self.started, self.count = start, 0
        self.count += amount
        return self.count

    def left(self, now: float) -> int:
        """Return the whole seconds until the next window."""
        return max(1, int(self.started + self.seconds - now) + 1)


@dataclass
class Limiter:
    """Counts requests and orders, and refuses those beyond the limits."""

    spec: LimitSpec
    """The limits."""
    machine_clock: MachineClock
    """Dates the requests."""
    _weight: RateWindow = field(default_factory=lambda: RateWindow(60))
    _orders: dict[str, tuple[RateWindow, RateWindow]] = field(default_factory=dict)
    _refused: RateWindow = field(default_factory=lambda: RateWindow(60))
    _banned_until: float = 0.0

    def count_weight(self, weight: int) -> dict[str, str]:
        """Count a request of this weight and return the headers, which a refusal has too."""
        used = str(self._weight.add(weight, self.machine_clock.now().timestamp()))
        return {"x-mbx-used-weight": used, "x-mbx-used-weight-1m": used}

    def require_weight(self) -> None:
        """Raise PracticeRefusal where the minute's weight is used up: 429, or 418 while banned."""
        now = self.machine_clock.now().timestamp()
        if now < self._banned_until:
            left = int(self._banned_until - now) + 1
            until = int(self._banned_until * 1000)
            message = f"Way too much request weight used; IP banned until {until}."
            raise PracticeRefusal(-1003, message, status=418, retry_after=left)
        limit = self.spec.weight_per_minute
        if limit is not None and self._weight.add(0, now) > limit:
            if self._refused.add(1, now) > self.spec.ban_after:
                self._banned_until = now + self.spec.ban_seconds
            message = (
                f"Too much request weight used; current limit is {limit} request weight "
                "per 1 MINUTE."
            )
            raise PracticeRefusal(-1003, message, status=429, retry_after=self._weight.left(now))

    def require_order(self, account: str) -> None:
        """Raise PracticeRefusal -1015 (429) where the account may not place one more order now."""
        now = self.machine_clock.now().timestamp()
        for window, limit, period in zip(
            self._windows(account),
            (self.spec.orders_per_10s, self.spec.orders_per_day),
            ("10 SECOND", "1 DAY"),
            strict=True,
        ):
            if limit is not None and window.add(0, now) >= limit:
                message = f"Too many new orders; current limit is {limit} orders per {period}."
                raise PracticeRefusal(-1015, message, status=429, retry_after=window.left(now))

    def count_order(self, account: str) -> dict[str, str]:
        """Count an order that was accepted and return its headers."""
        now = self.machine_clock.now().timestamp()
        short, day = (window.add(1, now) for window in self._windows(account))
        return {"x-mbx-order-count-10s": str(short), "x-mbx-order-count-1d": str(day)}

    def order_counts(self, account: str) -> dict[str, int]:
        """Return how many orders an account has placed in each window, by the window's unit."""
        now = self.machine_clock.now().timestamp()
        short, day = (window.add(0, now) for window in self._windows(account))
        return {"SECOND": short, "DAY": day}

    def _windows(self, account: str) -> tuple[RateWindow, RateWindow]:
        return self._orders.setdefault(account, (RateWindow(10), RateWindow(_DAY)))
