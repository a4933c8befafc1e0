"""Where a figure stands in the arrays that the compiled loop works on."""

#: The rows of `rules`, of shape (RULES, symbols): fee and slippage as fractions, the least slippage
#: and the price step in quote units, the lot step and the smallest quantity in base units, the
#: smallest notional in quote units, and what is never sold in base units. 0 is "none".
FEE, SLIPPAGE, LEAST, TICK, LOT, MIN_QUANTITY, MIN_NOTIONAL, KEEP = range(8)
RULES = 8

#: The places of `limits`: the no-trade band as a fraction of equity, the share of a bar's volume,
#: what is left of a holding that ends, and what live buys leave for costs (below 0: not as live).
BAND, SHARE, VALUE_AT_END, RESERVE = range(4)

#: The places of `sums`: the figures of Moments in their order, then what only the loop needs.
TOTAL, TOTAL2, TOTAL3, TOTAL4, DOWNSIDE2, DRAWDOWN, TRADED, ORDERS, UNFILLED, EQUITY_SUM = range(10)
FIRST, LAST, PEAK, REDUCED = range(10, 14)
SUMS = 14

#: The rows of `work`, of shape (WORK, symbols): base units held, the last price, what waits for a
#: bar, what is due now, and of the orders of one bar their size, value and notional.
UNITS, PRICE, PENDING, DUE, SIZE, VALUE, NOTIONAL = range(7)
WORK = 7

#: Bars that are valued before their returns are summed: what a processor's first cache holds.
BLOCK = 1024
