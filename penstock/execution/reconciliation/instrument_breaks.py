"""Breaks about instruments: the venue has changed the steps that orders were planned with."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from penstock.core.amounts import plain
from penstock.core.breaks import Break, BreakKind
from penstock.core.instruments import Instrument, InstrumentKind
from penstock.execution.reconciliation.differences import ExplainedDifference
from penstock.execution.session import AccountSession


def instrument_breaks(
    session: AccountSession,
    planned: Mapping[str, Instrument],
    instruments: Mapping[str, Instrument] | None,
) -> list[ExplainedDifference]:
    """Return a break per symbol whose steps differ from those that orders were planned with."""
    if not planned:
        return []
    listed = session.exchange.instruments() if instruments is None else instruments
    return [
        _changed(session, before, listed.get(symbol))
        for symbol, before in sorted(planned.items())
        if _steps(before) != _steps(listed.get(symbol))
    ]


def _steps(instrument: Instrument | None) -> tuple[Decimal, Decimal, Decimal] | None:
    return (
        (instrument.price_tick, instrument.lot_step, instrument.contract_size)
        if instrument is not None and instrument.listed
        else None
    )


def _changed(
    session: AccountSession, before: Instrument, now: Instrument | None
) -> ExplainedDifference:
    detail = (
        f"orders were planned with {_described(before)}; at the venue it is now {_described(now)}"
    )
    found = Break(session.account, before.symbol, BreakKind.INSTRUMENT_CHANGED, detail)
    return ExplainedDifference(
        found, instrument=replace(before, listed=False) if now is None else now
    )


def _described(instrument: Instrument | None) -> str:
    if instrument is None or not instrument.listed:
        return "not listed"
    steps = [("price tick", instrument.price_tick), ("lot step", instrument.lot_step)]
    if instrument.kind is not InstrumentKind.SPOT:
        steps.append(("contract size", instrument.contract_size))
    return " and ".join(f"{name} {plain(step)}" for name, step in steps)
