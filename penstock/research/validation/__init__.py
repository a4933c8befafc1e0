"""Proofs that a search did not fool itself: splits in time and the leak check."""
