"""What a person does about a break of each kind. How a break is accepted (a command, a button) is
for the interface that shows it.
"""

from penstock.core.breaks import BreakKind

_REMEDIES = {
    BreakKind.BALANCE_MISMATCH: "ask the venue what changed the balance, then {accept}",
    BreakKind.MISSING_FILL: "wait: the trades mostly follow; else compare the order at the venue, "
    "then {accept}",
    BreakKind.DOUBLED_FILL: "look the order up at the venue; its symbol unlocks when the venue's "
    "list has the trade once, or else {accept}",
    BreakKind.OVERFILL: "look the order up at the venue and decide whether to keep the surplus, "
    "then {accept}",
    BreakKind.UNKNOWN_ORDER: "cancel the order at the venue; nothing else unlocks it",
    BreakKind.ORDER_GONE: "read the venue's order history, then {accept}; this ends the order in "
    "the ledger",
    BreakKind.MANUAL_TRADE: "find out who trades with these keys and stop it, then {accept}",
    BreakKind.DEPOSIT: "if it is yours: {accept}",
    BreakKind.WITHDRAWAL: "if it is yours: {accept}",
    BreakKind.EARN_BALANCE: "redeem or unstake it at the venue, and switch automatic subscription "
    "off; it unlocks by itself once it is back, and nothing is written off",
    BreakKind.TRUNCATED_TRADES: "wait until the venue lists its trades again; else compare the "
    "balance, then {accept}",
    BreakKind.BASE_ASSET_FEE: "compare the fee at the venue, then {accept}",
    BreakKind.FILL_DIFFERS: "compare the trade at the venue, then {accept}; this books the "
    "difference",
    BreakKind.DUST: "nothing urgent; when it suits you: {accept}",
    BreakKind.INSTRUMENT_CHANGED: "read the venue's announcement, then {accept} to plan with what "
    "it has now",
}


def remedy(kind: BreakKind, accept: str = "accept the break") -> str:
    """Return what to do about a break of this kind. `accept` says how it is accepted."""
    return _REMEDIES[kind].format(accept=accept)
