"""The steps of a certification, in their order."""

STEPS = (
    "read the rules",
    "read the account",
    "place",
    "look up",
    "list",
    "cancel",
    "look up the cancelled",
    "cancel again",
    "look up no order",
    "refuse",
    "lose an answer",
    "fill in part",
    "fill",
    "sell",
)
