"""Commands for the practice exchange: serve it, move money there from outside, and have it
misbehave.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.core.amounts import plain
from penstock.interfaces.cli.terminal import (
    PortfolioOption,
    operator,
    out,
    parse_amount,
    parse_instant,
    say,
    settings,
)
from penstock.practice.faults import FaultKind

if TYPE_CHECKING:
    from penstock.pipeline.practice_venue import PracticeTransfer

AssetArgument = Annotated[str, typer.Argument(help="An asset of the universe, like USDT or BTC.")]
QuantityArgument = Annotated[str, typer.Argument(help="How much, in units of the asset.")]


def serve(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8190,
    candles: Annotated[
        Path | None,
        typer.Option(help="A folder of Parquet candle files. Without it: made-up candles."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Venue time at the start, like 2024-01-01T00:00. Default: now."),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(
            help="Venue seconds in a real second; 0 is a clock that only steps on request."
        ),
    ] = 1.0,
    cash: Annotated[
        float, typer.Option(help="Quote balance with which each account begins.")
    ] = 100_000,
) -> None:
    """Serve the practice exchange until interrupted. A client of Binance's spot REST API trades on
    it unmodified: docs/venues.md lists those that were seen to.

    `penstock exchange account NAME` opens an account for a client of your own and shows its keys.
    Those of the portfolios' accounts are in the home folder (practice-keys.json). At any speed a
    client signs by its own clock, or by the venue's as it asked for it once: requests age in real
    seconds.

    Example: `penstock exchange serve --candles ~/candles --start 2024-01-01T00:00 --speed 60`
    """
    from penstock.pipeline.local_stack import PracticeRequest, serve_practice

    source = f"candles of {candles}" if candles else "made-up candles"
    request = PracticeRequest(port, candles, parse_instant(start) if start else None, speed, cash)
    serve_practice(
        settings(default_env="practice"),
        operator(),
        request,
        lambda url: out.print(f"practice exchange on {url} with {source}"),
    )


def account(
    name: Annotated[str, typer.Argument(help="A name of your own for the account, like my-bot.")],
    cash: Annotated[
        str, typer.Option(help="Quote balance with which a new account begins.")
    ] = "100000",
) -> None:
    """Open an account for a client of your own at the running practice exchange; show its keys.

    Any client of Binance's spot API will do. Give it the address in the place of
    https://api.binance.com, in every URL that it has: docs/venues.md shows where. There are no
    streams, and a client that still has Binance's address for these hears the real market.

    Example: `penstock exchange account my-bot`
    """
    from penstock.pipeline.practice_venue import open_client_account

    opened = open_client_account(
        settings(default_env="practice"), operator(), name, parse_amount(cash)
    )
    held = ", ".join(f"{plain(amount)} {asset}" for asset, amount in opened.balances.items())
    for what, shown in (
        ("address", opened.url),
        ("API key", opened.api_key),
        ("secret", opened.secret),
        ("it holds", held or "nothing"),
    ):
        say(f"{what:9} {shown}")


def deposit(
    asset: AssetArgument, quantity: QuantityArgument, portfolio: PortfolioOption = "daily"
) -> None:
    """Put money on a portfolio's account at the practice exchange. The ledger does not know of it.

    The next comparison finds it as a break of kind deposit.

    Example: `penstock exchange deposit USDT 1000`, then `penstock reconcile`
    """
    from penstock.pipeline.practice_venue import deposit as put

    done = put(settings(), operator(), portfolio, asset, parse_amount(quantity))
    _show(done, portfolio)


def withdraw(
    asset: AssetArgument, quantity: QuantityArgument, portfolio: PortfolioOption = "daily"
) -> None:
    """Take money off a portfolio's account at the practice exchange. The ledger does not know of
    it.

    The next comparison finds it as a break of kind withdrawal.

    Example: `penstock exchange withdraw BTC 0.01 -p minute`, then `penstock reconcile -p minute`
    """
    from penstock.pipeline.practice_venue import withdraw as take

    done = take(settings(), operator(), portfolio, asset, parse_amount(quantity))
    _show(done, portfolio)


def fault(
    kind: Annotated[
        FaultKind,
        typer.Argument(
            metavar="KIND", help="What goes wrong; one of those above.", show_choices=False
        ),
    ],
    method: Annotated[
        str, typer.Option(help="Only calls with this HTTP method: GET, POST or DELETE.")
    ] = "",
    path: Annotated[
        str,
        typer.Option(help="Only calls whose path begins so: /api/v3/order, /api/v3/myTrades ..."),
    ] = "/api/",
    times: Annotated[
        int | None,
        typer.Option(min=1, help="Strike this many times at most. Default: until cleared."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0, help="How long an answer is away, or how much is hidden.")
    ] = 30.0,
) -> None:
    """Have the practice exchange misbehave, until the fault is cleared or has struck often enough.

    - nothing is done and the answer is bad: timeout_before, error_before, rate_limit, ban

    - done, and the answer is lost: timeout_after, error_after, reset_after, malformed

    - the answer is empty, {}: refusal (nothing is done), other_answer (it is done)

    - done, and the answer is late: slow

    - trades or orders are shown wrongly: hidden_trades, truncated_trades, doubled_trades,
    feeless_trades, short_pages, hidden_order

    - candles are shown as they were: stale_candles

    - instruments are listed without tick and step: no_steps

    Example: `penstock exchange fault timeout_after --method POST --path /api/v3/order --times 1
    --seconds 12`
    """
    from penstock.pipeline.practice_venue import arm_fault
    from penstock.practice.faults import Fault

    wanted = Fault(kind=kind, method=method.upper(), path=path, times=times, seconds=seconds)
    armed = arm_fault(settings(), operator(), wanted)
    often = "until it is cleared" if armed.times is None else f"{armed.times} times at most"
    say(f"{armed.kind} strikes {armed.method or 'any'} {armed.path}*, {often}")
    say("end it with: penstock exchange faults --clear")


def faults(
    clear: Annotated[bool, typer.Option("--clear", help="Disarm them all.")] = False,
) -> None:
    """The faults that are armed at the practice exchange, with how many calls each matched and
    struck.

    Example: `penstock exchange faults --clear`
    """
    from penstock.pipeline.practice_venue import armed_faults

    armed = armed_faults(settings(), operator(), clear=clear)
    for each in armed:
        calls = f"matched {each.calls} calls, struck {each.struck}"
        say(f"{each.kind} {each.method or 'any'} {each.path}*: {calls}")
    if not armed:
        say("no fault is armed")


def _show(done: "PracticeTransfer", portfolio: str) -> None:
    say(done.summary())
    say(f"the ledger does not know of it yet: penstock reconcile -p {portfolio}")
