"""One signed request at a time, at venues that want each request's number above the last one's.

Two requests that are under way at once may arrive in the other order. Such a venue refuses the
second one, and an order would be lost to it.
"""

import threading
from typing import Any

#: WhiteBIT takes each number once, in any order (see order_expiry.py). The others go by the time.
_COUNTING = frozenset({"kraken"})


def keep_in_order(venue: str, client: Any) -> None:
    """Have a ccxt client number and send one signed request after another, where the venue counts.

    Public requests are not held up. Each key is thought to be this client's alone.
    """
    if venue not in _COUNTING:
        return
    own, turn = client.fetch2, threading.Lock()

    def in_turn(path: str, api: Any = "public", *rest: Any, **named: Any) -> Any:
        """Send a request; a signed one from its number to its answer before the next."""
        if "private" not in api:
            return own(path, api, *rest, **named)
        with turn:
            return own(path, api, *rest, **named)

    client.fetch2 = in_turn
