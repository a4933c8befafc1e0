"""The list of trades under a fault: late, cut short, doubled, in short pages, or without fees."""

from typing import Any

from penstock.practice.faults import Fault, FaultKind

#: Far above any id that the practice exchange gives.
_OTHER_ID = 10**9

Row = dict[str, Any]


def faulty_trades(rows: list[Row], fault: Fault, now_ms: int) -> list[Row]:
    """Return the answer of myTrades under a fault. A fault of another kind does not change it."""
    if fault.symbol and any(row["symbol"] != fault.symbol for row in rows):
        return rows
    if fault.kind is FaultKind.SHORT_PAGES:
        rows = rows[: fault.rows]
    boundary_ms = now_ms - round(fault.seconds * 1000)
    match fault.kind:
        case FaultKind.HIDDEN_TRADES:
            return [row for row in rows if row["time"] < boundary_ms]
        case FaultKind.TRUNCATED_TRADES:
            return [row for row in rows if row["time"] >= boundary_ms]
        case FaultKind.DOUBLED_TRADES:
            return [copy for row in rows for copy in (row, {**row, "id": row["id"] + _OTHER_ID})]
        case FaultKind.FEELESS_TRADES:
            return [{**row, "commission": "0.00000000"} for row in rows]
        case _:
            return rows
