"""The best bid and ask that the practice exchange shows."""

from decimal import Decimal

from penstock.core.quotes import Quote
from penstock.core.timeframes import Timeframe
from penstock.practice.book import TopOfBook
from tests.unit.practice.conftest import Frames, Sessions

D = Timeframe.D1


def test_book_is_where_takers_fill(open_account: Sessions, frame: Frames) -> None:
    """Slippage is fifty basis points on 10. A buyer pays the ask of 10.05, and a seller gets the
    bid of 9.95.
    """
    session = open_account(
        {D: frame([(10.0, 11.0, 9.0, 10.0, 500.0)], D)}, slippage_bps=Decimal(50)
    )
    books = TopOfBook(session.market, session.engine.rules, session.engine.fill_model)
    book = books.at(session.market.listings["AAAUSDT"], session.time.now_ms())
    assert (book.bid, book.ask) == (Decimal("9.95"), Decimal("10.05"))
    assert Decimal(session.place("BUY", "1")["fills"][0]["price"]) == book.ask
    assert Decimal(session.place("SELL", "1")["fills"][0]["price"]) == book.bid


def test_sizes_are_those_of_the_closed_bar_never_of_the_open_one(
    open_account: Sessions, frame: Frames
) -> None:
    """The open bar's volume of 900 is the future; the day before traded 20."""
    flat = (10.0, 11.0, 9.0, 10.0)
    session = open_account({D: frame([(*flat, 20.0), (*flat, 900.0)], D)})
    books = TopOfBook(session.market, session.engine.rules, session.engine.fill_model)
    listing = session.market.listings["AAAUSDT"]
    first = Quote(Decimal(10), Decimal("10.01"))
    assert books.at(listing, session.time.now_ms()) == first, "nothing has traded yet"
    session.step(D.duration)
    assert books.at(listing, session.time.now_ms()) == Quote(
        first.bid, first.ask, Decimal(20), Decimal(20)
    )
