"""What may trade: limits, the rules that apply them, and the review that alone approves orders.

Pure: nothing here talks to a venue or a database.
"""
