"""What an operator does about a break of each kind, in one sentence: the remedy that stands beside
it.
"""

from penstock.core.breaks import BreakKind

_ACCEPT = "`penstock accept-break {subject} -p {portfolio} --reason ...`"

_REMEDIES = {
    BreakKind.BALANCE_MISMATCH: f"ask the venue what changed the balance, then {_ACCEPT}",
    BreakKind.MISSING_FILL: f"wait: the trades mostly follow; else compare the order at the venue, then {_ACCEPT}",
    BreakKind.DOUBLED_FILL: f"look the order up at the venue; the lock goes when its list has the trade once, or by {_ACCEPT}",
    BreakKind.OVERFILL: f"look the order up at the venue and decide whether to keep the surplus, then {_ACCEPT}",
    BreakKind.UNKNOWN_ORDER: "cancel the order at the venue; nothing else unlocks it",
    BreakKind.ORDER_GONE: f"read the venue's order history, then {_ACCEPT}, which ends the order in the ledger",
    BreakKind.MANUAL_TRADE: f"find out who trades with these keys and stop it, then {_ACCEPT}",
    BreakKind.DEPOSIT: f"if it is yours: {_ACCEPT}",
    BreakKind.WITHDRAWAL: f"if it is yours: {_ACCEPT}",
    BreakKind.TRUNCATED_TRADES: f"wait until the venue lists its trades again; else compare the balance, then {_ACCEPT}",
    BreakKind.BASE_ASSET_FEE: f"compare the fee at the venue, then {_ACCEPT}",
    BreakKind.FILL_DIFFERS: f"compare the trade at the venue, then {_ACCEPT}, which books the difference",
    BreakKind.DUST: f"nothing urgent; when it suits you: {_ACCEPT}",
    BreakKind.INSTRUMENT_CHANGED: f"read the venue's announcement, then {_ACCEPT} to plan with what it has now",
}


def remedy(kind: BreakKind, subject: str, portfolio: str) -> str:
    """Return what to do about a break of this kind on this subject of the portfolio's account."""
    return _REMEDIES[kind].format(subject=subject, portfolio=portfolio)
