"""The implementations of the ports, by what they speak to. Only penstock.wiring chooses them."""
