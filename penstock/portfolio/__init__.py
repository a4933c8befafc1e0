"""From what strategies want to what an account should order. Pure: nothing here talks to a venue or
a database.
"""
