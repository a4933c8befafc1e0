"""Indicators as arithmetic on arrays. They know nothing of bars, symbols or caches.

Each takes float64 arrays of shape (rows, columns) and looks back along the rows only. Row t of the
answer depends on rows up to t. `penstock.core.panel.Panel` gives them the bars of its symbols.
"""
