"""The minute service: at every bar's close it ingests the bar, decides, sends orders, and shows the
slot as a flow run.

The orders go first and the flow run is written after them. So a slow or absent Prefect server
delays the record of a slot, never its orders. The service is one process that goes on: the imports
of a new one take longer than a slot may wait.
"""

import asyncio
import sys
from datetime import datetime

import structlog
from prefect import flow
from prefect.client.schemas.objects import State

from penstock.core.errors import RiskError
from penstock.monitoring.log_output import LossyStream
from penstock.pipeline.slots import (
    SlotOutcome,
    require_ready,
    slots_due,
    trade_slot,
    wait_for_slot,
    why_idle,
)
from tasks.artifacts import publish_rows_async
from tasks.platform import worker_actor, worker_platform
from tasks.states import ended

#: A record that takes longer is given up: its slot is in the ledger.
RECORD_TIMEOUT_SECONDS = 300
_log = structlog.get_logger(__name__)


@flow(
    name="trade-slot",
    flow_run_name="{portfolio}-{slot}",
    log_prints=True,
    validate_parameters=False,
)
async def record_slot(portfolio: str, slot: str, outcome: SlotOutcome) -> State[None]:
    """Leave the slot's outcome as a flow run: its state, its figures, its orders."""
    if outcome.result is not None and outcome.result.rows():
        await publish_rows_async(
            f"slot-{portfolio}", outcome.result.rows(), f"Orders of slot {slot}"
        )
    return ended(outcome.line(), failed=outcome.failed, skipped=outcome.skipped)


async def _record(portfolio: str, slot: datetime, outcome: SlotOutcome) -> None:
    """Write the slot's flow run beside the trading. A Prefect server that is away loses the record
    only.
    """
    try:
        async with asyncio.timeout(RECORD_TIMEOUT_SECONDS):
            await record_slot(portfolio, f"{slot:%Y-%m-%dT%H:%M}", outcome, return_state=True)
    except Exception as error:  # noqa: BLE001 - a record that fails must not stop trading
        _log.warning(
            "the slot's flow run could not be written; the ledger has the slot",
            slot=str(slot),
            error=str(error),
        )


@flow(name="trade-minutes", flow_run_name="trade-{portfolio}")
async def trade_minutes(portfolio: str = "minute", slots: int | None = None) -> State[None]:
    """Trade slot after slot: for ever, or for `slots` of them.

    Where there is nothing to trade yet the run ends at once, and the schedule tries again.
    """
    platform = await asyncio.to_thread(worker_platform)
    actor = worker_actor()
    idle = await asyncio.to_thread(why_idle, platform, actor, portfolio)
    if idle:
        return ended(f"nothing trades: {idle}", skipped=True)
    await asyncio.to_thread(require_ready, platform, actor, portfolio)
    slot: datetime | None = None
    done = failed = skipped = 0
    records: set[asyncio.Task[None]] = set()
    terminal = LossyStream(lambda: sys.stdout)
    while slots is None or done < slots:
        slot = await asyncio.to_thread(wait_for_slot, platform, actor, portfolio, slot)
        account = await asyncio.to_thread(slots_due, platform, actor, portfolio, slot)
        for due in account.to_run:
            outcome = await asyncio.to_thread(
                trade_slot, platform, actor, portfolio, due, due in account.late
            )
            # for the terminal, if it still takes it; the slot's own run has it in its log
            terminal.write(f"{outcome.line()}\n")
            terminal.flush()
            records.add(asyncio.create_task(_record(portfolio, due, outcome)))
            done += 1
            failed += outcome.failed
            skipped += outcome.skipped
        records = {record for record in records if not record.done()}
    await asyncio.gather(*records)
    if failed:
        raise RiskError(f"{failed} of {done} slots failed; each slot's run says why")
    return ended(f"{portfolio}: {done} slots, {skipped} of them skipped", skipped=skipped == done)
