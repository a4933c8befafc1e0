"""What to type in a terminal about what was found: commands and settings, by break, halt, error and
failed check. Only the command line knows its own commands.
"""

from collections.abc import Sequence

from penstock.core.breaks import BreakKind
from penstock.core.errors import (
    ForeignHaltError,
    NoBarsError,
    NoSearchError,
    NoSnapshotError,
    NotPracticeError,
    NoVersionError,
    PenstockError,
    PracticeExchangeDownError,
    RealNetworkError,
    SchemaError,
    StoreUnavailableError,
    UnknownAccountError,
)
from penstock.core.remedies import remedy
from penstock.pipeline.breaks import OpenBreaks
from penstock.pipeline.doctor import Subject
from penstock.pipeline.halts import AccountEnding, AccountHalt, HeldPosition, TradingStates
from penstock.pipeline.local_stack import RunningStack, StoppedStack
from penstock.pipeline.stack_health import StackHealth
from penstock.stack import StackNotRunningError, UnreadableStackError

#: What brings a stack back that is not whole, and what takes it away.
STACK_REMEDY = (
    "`penstock up` ends what is left of it and starts all anew, `penstock down` ends it for good"
)
#: What mends a check of the doctor that is not well.
CHECK_REMEDIES = {
    Subject.PYTHON: "use Python 3.11, 3.12 or 3.13",
    Subject.LIBRARIES: "run 'make clean setup': it installs the pinned set",
    Subject.CONFIGURATION: "mend the file, key or variable that the message names",
    Subject.DISK: "free some space, or set PENSTOCK_HOME to another disk",
    Subject.STACK: "`penstock up` starts it, and ends first what a dead supervisor has left; a "
    "living one starts a dead part again by itself, and the part's log says why it died",
    Subject.DATABASE: "start the server that PENSTOCK_DATABASE_URL names, or unset it to use the "
    "embedded one",
    Subject.VENUE: "check the network and the proxy, or use PENSTOCK_ENV=practice with `penstock "
    "up`",
    Subject.VENUE_CLOCK: "synchronise this machine's clock (NTP): signed requests expire within "
    "seconds",
    Subject.OLD_ORDERS: "trade a venue of the table in docs/venues.md, or see to it that the "
    "trading machine is never suspended or frozen",
    Subject.REGISTRY: "start the MLflow server ('make up'), or unset PENSTOCK_MLFLOW_URL",
    Subject.KILL_SWITCH: "delete the file once it is safe to trade",
}


def stack_lines(stack: StackHealth | None) -> list[str]:
    """Return what lives of the stack and what is dead, and what to do about it."""
    if stack is None:
        return []
    remedy = [f"stack: {STACK_REMEDY}"] if stack.abandoned else []
    return [f"stack: {stack.summary}", *(f"stack: {each}" for each in stack.silent), *remedy]


def replaced_lines(stack: RunningStack) -> list[str]:
    """Return what `penstock up` has ended of a stack that had lost its supervisor."""
    if stack.was_running or not stack.replaced:
        return []
    left = ", ".join(stack.replaced)
    return [f"an earlier stack had lost its supervisor; ended what it had left running: {left}"]


def stopped_lines(stack: StoppedStack) -> list[str]:
    """Return what `penstock down` has ended."""
    if not stack.was_running and not stack.leftovers:
        return [f"nothing is running from {stack.home}"]
    left = ", ".join(stack.leftovers)
    if not stack.was_running:
        return [f"stopped what had lost its supervisor: {left}; the data stays"]
    lines = [
        "stopped: the worker, the servers, the database and their supervisor have ended; "
        "the data stays"
    ]
    return [*lines, *([f"what its supervisor had left was ended too: {left}"] if left else [])]


def break_remedy(kind: BreakKind, subject: str, portfolio: str) -> str:
    """Return what to do about a break, with the command that accepts it."""
    return remedy(kind, f"`penstock accept-break {subject} -p {portfolio} --reason ...`")


def traded_elsewhere(portfolio: str, traded: Sequence[str]) -> str:
    """Return which portfolios have traded, with the option that shows them, where the one that is
    shown has not; "" else.
    """
    if portfolio in traded or not traded:
        return ""
    others = ", ".join(f"`-p {name}`" for name in traded)
    return f"the portfolio {portfolio} has traded nothing here; others have: {others}"


def locked_elsewhere(found: OpenBreaks) -> str:
    """Return how many breaks an account has that was not named, and the command that lists them."""
    name = found.portfolio
    return (
        f"{found.account} (portfolio {name}) has {len(found.breaks)}: `penstock breaks -p {name}`"
    )


def not_active(states: TradingStates) -> list[str]:
    """Return a sentence for each account that may not trade freely, with the command that resumes
    it.
    """
    found = [f"{_named(each)} is {_state(each)}: {_resume(each)}" for each in states.halted]
    if states.kill_switch_file is not None:
        found.append(f"every account is halted by the file {states.kill_switch_file}: delete it")
    return found


def still_trading(states: TradingStates) -> list[str]:
    """Return a sentence for each account that trades on, with the command that halts it."""
    return [
        f"{_named(each)} trades on: `penstock halt -p {each.portfolio} --reason ...`"
        for each in states.trading
    ]


def ending_remedy(ending: AccountEnding) -> str:
    """Return what is still to be ended at an account after a halt, with its commands; "" where
    nothing is.
    """
    if ending.error or not ending.held:
        return ending.unfinished()
    orders = [f"{order}; cancel it at the venue" for order in ending.working]
    failed = ending.flattened is not None and ending.flattened.is_failure
    if ending.flattened is not None and failed:
        orders.append(ending.flattened.reason or ending.flattened.summary())
    return "; ".join([*orders, *(_sell(held, ending.portfolio) for held in ending.held)])


#: What mends an error of each class, where no value of the error is part of the command.
_ERROR_REMEDIES: dict[type[PenstockError], str] = {
    ForeignHaltError: "`penstock resume --all --reason ...` lifts it for all of them",
    NoSnapshotError: "`penstock research` takes a new one",
    StoreUnavailableError: "`penstock up` starts the embedded one",
    SchemaError: "`penstock db migrate` migrates it",
    UnknownAccountError: "`penstock reconcile` begins it",
    NotPracticeError: "start `penstock up`, or set PENSTOCK_ENV=practice beside a running "
    "`penstock exchange serve`",
    RealNetworkError: "use PENSTOCK_ENV=testnet, or allow it with --real-network",
    PracticeExchangeDownError: "start it with `penstock up`, or the exchange alone with `penstock "
    "exchange serve`",
    UnreadableStackError: STACK_REMEDY,
}


def error_remedy(error: PenstockError) -> str:
    """Return the commands that mend what an error says; "" where there is none to name."""
    if isinstance(error, NoBarsError):
        return f"run `penstock ingest -t {error.timeframe}`"
    if isinstance(error, NoSearchError):
        return f"run `penstock research --study {error.study}`"
    if isinstance(error, NoVersionError):
        return (
            "run `penstock research --study ...`, then `penstock promote --study ...`, with the "
            f"study of configs/research.yaml that has `register_as: {error.model}`"
        )
    if isinstance(error, StackNotRunningError):
        return f"`penstock up` starts the stack, PENSTOCK_ENV={error.default} works without one"
    return _ERROR_REMEDIES.get(type(error), "")


def _sell(held: HeldPosition, portfolio: str) -> str:
    again = f"`penstock halt --flatten -p {portfolio} --reason ...` again"
    if not held.locks:
        return f"{held.summary()}: {again}"
    ways = dict.fromkeys(break_remedy(lock.kind, lock.subject, portfolio) for lock in held.locks)
    return f"{held.summary()}: `penstock breaks -p {portfolio}`, {'; '.join(ways)}; then {again}"


def _named(each: AccountHalt) -> str:
    return f"{each.account} (portfolio {each.portfolio})"


def _state(each: AccountHalt) -> str:
    return f"{each.halt.state} ({each.halt.reason})"


def _resume(each: AccountHalt) -> str:
    whose = "" if each.is_for_every_account else f"-p {each.portfolio} "
    return f"`penstock resume {whose}--reason ...`"
