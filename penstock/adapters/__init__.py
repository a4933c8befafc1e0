"""The ports made real: one package a kind of outside world. Only penstock.wiring chooses among
them.
"""
