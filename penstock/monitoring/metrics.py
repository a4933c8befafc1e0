"""Gauges and counters for Prometheus. Thin: each function notes one fact; `export` serves them on
loopback.

Facts are kept in this process. A flow that ends takes its figures with it, so what must outlive a
process is in the store.
"""

from collections.abc import Mapping
from decimal import Decimal

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, start_http_server

from penstock.core.errors import ConfigError
from penstock.core.orders import OrderState


class PipelineMetrics:
    """The pipeline's figures, registered once in `registry` (prometheus-client refuses a name
    twice).
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.registry = registry
        self._bars = Counter(
            "penstock_bars_ingested",
            "Bars stored",
            ["exchange", "symbol", "timeframe"],
            registry=registry,
        )
        self._orders = Gauge(
            "penstock_orders",
            "Orders of an account by state",
            ["account", "state"],
            registry=registry,
        )
        self._lateness = Gauge(
            "penstock_slot_lateness_seconds",
            "From the slot's close to its orders",
            ["account"],
            registry=registry,
        )
        self._equity = Gauge(
            "penstock_equity", "Account equity in quote units", ["account"], registry=registry
        )

    def note_bars(self, exchange: str, symbol: str, timeframe: str, rows: int) -> None:
        """Add bars that were new in the store."""
        self._bars.labels(exchange, symbol, timeframe).inc(rows)

    def note_orders(self, account: str, by_state: Mapping[OrderState, int]) -> None:
        """Set how many orders of the account are in each state; a state that is absent is zero."""
        for state in OrderState:
            self._orders.labels(account, state.value).set(by_state.get(state, 0))

    def note_lateness(self, account: str, seconds: float) -> None:
        """Set how long after the slot's close its orders were decided."""
        self._lateness.labels(account).set(seconds)

    def note_equity(self, account: str, equity: Decimal) -> None:
        """Set the account's equity in quote units."""
        self._equity.labels(account).set(float(equity))

    def export(self, port: int) -> int:
        """Serve the metrics on 127.0.0.1 from a thread and return the port (a free one where `port`
        is 0).

        Raises ConfigError where the port cannot be taken.
        """
        try:
            server, _ = start_http_server(port, addr="127.0.0.1", registry=self.registry)
        except OSError as error:
            raise ConfigError(
                f"metrics: port {port} cannot be used ({error.strerror}): choose another, or 0 for a free one"
            ) from None
        return int(server.server_address[1])
