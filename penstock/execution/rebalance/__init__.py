"""The run of one slot, which slots are due, and how a slot ended."""
