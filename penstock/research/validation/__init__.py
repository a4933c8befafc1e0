"""Checks of a search: splits in time, and the proof that a strategy does not look ahead."""
