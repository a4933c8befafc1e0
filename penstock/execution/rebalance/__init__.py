"""The run of one slot, what every step of it needs, which slots are due, and how a slot ended."""
