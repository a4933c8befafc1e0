"""What may trade: limits, the rules that apply them, the review that alone approves orders, and the
kill switch.
"""
