"""What an install without extras can do, and what it says where an extra is missing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.adapters.mlflow.connection import local_tracking_uri
from penstock.adapters.mlflow.registry import MlflowRegistry
from penstock.adapters.mlflow.tracking import MlflowTracker
from penstock.core.machine import SYSTEM_CLOCK
from penstock.core.rebalances import RebalanceStatus
from penstock.core.timeframes import Timeframe
from penstock.data.ingestion import ingest_universe
from penstock.data.snapshots import write_snapshot
from penstock.pipeline.trading_costs import measure_account_costs, study_costs
from penstock.promotion.gate import CandidateStatus, GateDecision
from penstock.promotion.records import Judgement
from penstock.research.engine.costs import Costs
from penstock.research.engine.results import SearchSettings
from penstock.research.search.runner import search
from strategies.inverse_volatility import InverseVolatility

from .conftest import ACTOR, Place

pytestmark = pytest.mark.slow

CORE_ONLY = Path(__file__).with_name("core_only.py")


def core(
    *arguments: str, without: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process that has the core's libraries only."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PENSTOCK_", "PREFECT_"))
    }
    return subprocess.run(
        [sys.executable, str(CORE_ONLY), *arguments],
        env={**clean, **environment, "CORE_ONLY_WITHOUT": without, "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_core_loads_a_champion_and_trades_a_slot(place: Place) -> None:
    """A registered version trades a slot without any extra: settings, store, registry and venue."""
    place.tomorrow()
    platform, home = place.platform, place.platform.home
    universe = platform.settings.universe
    reports = ingest_universe(
        platform.market,
        platform.bars,
        "practice",
        list(universe.symbols),
        Timeframe.D1,
        universe.policy_of(Timeframe.D1),
        platform.quick_gate,
        clock=SYSTEM_CLOCK,
        runner=platform.runner,
    )
    assert all(report.ok for report in reports)
    _register_champion(place, home)
    _assert_study_trades_as_its_portfolio(place)

    done = core("--help", "rebalance", "status", **place.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Start with: penstock demo" in done.stdout
    (rebalance,) = platform.ledger.rebalances("practice-daily")
    assert rebalance.status is RebalanceStatus.DONE
    assert platform.ledger.orders("practice-daily")
    assert rebalance.portfolio_version.startswith("daily-portfolio/1")
    _assert_costs_are_those_of_the_venue(place)


def _assert_study_trades_as_its_portfolio(place: Place) -> None:
    """A search has the band and the reserve of live, and the steps that came with the bars."""
    costs, platform = study_costs(place.platform, "daily"), place.platform
    policy, listed = (
        platform.settings.portfolio("daily").rebalancing,
        platform.market.instruments(),
    )
    assert costs.no_trade_band == float(policy.no_trade_band) > 0
    assert costs.buy_reserve_bps == float(policy.fee_bps + policy.slippage_bps)
    assert costs.fee_bps == platform.settings.costs.fee_bps
    assert costs.instruments
    for each in costs.instruments:
        assert each.lot_step == float(listed[each.symbol].lot_step) > 0
        assert each.min_notional == float(listed[each.symbol].min_notional)
        assert each.price_tick == float(listed[each.symbol].price_tick)


def _assert_costs_are_those_of_the_venue(place: Place) -> None:
    """Each filled order pays the venue's fee and slippage against the price it was decided with."""
    found = measure_account_costs(place.platform, ACTOR, "daily")
    filled = [
        each for each in place.platform.ledger.orders("practice-daily") if each.filled_quantity
    ]
    assert sum(each.orders for each in found.measured) == len(filled) > 0
    costs = place.platform.settings.costs
    for each in found.measured:
        assert each.fee_bps == pytest.approx(costs.fee_bps, rel=1e-3)
        assert 0 < each.slippage_bps < 10 * costs.slippage_bps
    assert found.against is None, "a slot has too few orders to judge"


def test_missing_extras_are_named_with_their_commands(place: Place) -> None:
    """A command whose extra is missing ends with one sentence that has the command to run."""
    named = {
        "research": "research",
        "demo": "research",
        "report": "research",
        "trade": "prefect",
        "up": "prefect",
        "exchange serve --port 0": "practice",
        "ingest": "checks",
    }
    done = core(*named, without="uvicorn", **place.environment)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.findall(r"run pip install 'penstock\[(\w+)\]'$", done.stderr, re.MULTILINE) == [
        *named.values()
    ]


def test_missing_embedded_server_is_named_with_its_command(tmp_path: Path) -> None:
    """Where no database is configured and none can be started, both ways out are named."""
    done = core("db migrate", PENSTOCK_HOME=str(tmp_path / "home"))
    assert done.returncode == 1
    assert (
        "run pip install 'penstock[embedded]', or set PENSTOCK_DATABASE_URL to a server of your own"
        in done.stderr
    )


def _register_champion(place: Place, home: Path) -> None:
    """Search, record and register a version, and make it the champion."""
    bars = place.platform.bars.read_bars(
        "practice", Timeframe.D1, list(place.platform.settings.universe.symbols)
    )
    snapshot = write_snapshot(bars, "practice", Timeframe.D1, home / "snapshots")
    uri = local_tracking_uri(home)
    found = search(
        snapshot.bars(),
        InverseVolatility,
        Costs(),
        SearchSettings(trials=2, seed=1),
        dataset_hash=snapshot.content_hash,
    )
    record = place.platform.promotions
    run = MlflowTracker(uri, "daily", record).record_search(found, InverseVolatility, snapshot)
    registry = MlflowRegistry(uri, record)
    version = registry.register(run, "daily-portfolio")
    passed = GateDecision(CandidateStatus.CHAMPION, ())
    content, at = version.tags["content_hash"], SYSTEM_CLOCK.now()
    record.save_judgement(Judgement(version.name, version.version, content, passed, at, "ana"))
    registry.move_alias("daily-portfolio", "champion", version.version)
