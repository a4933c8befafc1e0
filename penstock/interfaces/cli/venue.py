"""Commands that look at how a venue behaves."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.interfaces.cli.terminal import (
    PortfolioOption,
    operator,
    parse_amount,
    say,
    settings,
)

if TYPE_CHECKING:
    from penstock.execution.certification.script import CertifiedStep


def certify(
    symbol: Annotated[
        str, typer.Option("--symbol", "-s", help="What is traded, like BTC/USDT.")
    ] = "BTC/USDT",
    portfolio: PortfolioOption = "daily",
    venue: Annotated[str, typer.Option(help="Which venue of an account that is at several.")] = "",
    most: Annotated[str, typer.Option(help="What an order may cost at most, in quote units.")] = (
        "50"
    ),
    record: Annotated[
        Path | None,
        typer.Option(
            help="The file that is written. Default: certified-VENUE-NETWORK.json in this folder."
        ),
    ] = None,
    real_network: Annotated[
        bool,
        typer.Option("--real-network", help="Send orders to the venue itself, for real money."),
    ] = False,
) -> None:
    """Send a series of small orders to a venue's test network, with your own keys, and compare the
    venue's answers with what Penstock expects.

    An order is placed, looked up, listed and cancelled; one is refused; the answer to one is lost;
    one is filled in part, one whole and sold again. The answers are written to a file without keys,
    signatures and account ids. Nothing is left open, also after Ctrl-C. Let nothing else trade
    the account meanwhile.

    Exit code 1 where the venue answered otherwise than expected, the kill switch is set, or
    something is left.

    Example: `PENSTOCK_ENV=testnet penstock venue certify --symbol BTC/USDT`
    """
    from penstock.pipeline.certify import CertifyRequest, certify_venue

    request = CertifyRequest(portfolio, symbol, parse_amount(most), record, venue, real_network)
    # SIGTERM ends the script as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    done = certify_venue(settings(), operator(), request, _show)
    say(done.summary())
    if done.is_interrupted:
        raise typer.Exit(130)
    if not done.is_as_expected:
        raise typer.Exit(1)


def _show(step: "CertifiedStep") -> None:
    say(f"{step.name}: {step.result} ({step.seen})")
