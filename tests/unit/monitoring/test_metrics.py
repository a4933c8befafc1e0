"""Figures for Prometheus, scraped over HTTP as Prometheus would."""

import socket
from decimal import Decimal

import httpx
import pytest
from prometheus_client import CollectorRegistry

from penstock.core.errors import ConfigError
from penstock.core.orders import OrderState
from penstock.monitoring.metrics import PipelineMetrics


def test_noted_facts_are_scraped() -> None:
    """Counters add up, gauges hold the last value, an absent order state is zero."""
    metrics = PipelineMetrics(CollectorRegistry())
    metrics.note_bars("binance", "BTC/USDT", "1d", 3)
    metrics.note_bars("binance", "BTC/USDT", "1d", 2)
    metrics.note_orders("demo", {OrderState.FILLED: 4})
    metrics.note_orders("demo", {OrderState.OPEN: 1})
    metrics.note_lateness("demo", 1.5)
    metrics.note_equity("demo", Decimal("1234.56"))
    page = httpx.get(f"http://127.0.0.1:{metrics.export(0)}/metrics", trust_env=False).text
    assert (
        'penstock_bars_ingested_total{exchange="binance",symbol="BTC/USDT",timeframe="1d"} 5.0'
        in page
    )
    assert 'penstock_orders{account="demo",state="filled"} 0.0' in page
    assert 'penstock_orders{account="demo",state="open"} 1.0' in page
    assert 'penstock_slot_lateness_seconds{account="demo"} 1.5' in page
    assert 'penstock_equity{account="demo"} 1234.56' in page


def test_port_that_is_taken_is_a_clear_error() -> None:
    """Two services on one port: the second says so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}"):
            PipelineMetrics(CollectorRegistry()).export(port)
