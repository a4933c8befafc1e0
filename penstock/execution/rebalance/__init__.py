"""The run of one slot, the values that its steps share, the slots that are due, and the outcome."""
