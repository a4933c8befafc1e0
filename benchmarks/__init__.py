"""Measurements, one command each, printing what they compare side by side in one run."""
