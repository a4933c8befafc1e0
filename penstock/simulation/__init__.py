"""Filling orders without a venue: the fill model, and the replay of decisions over bars."""
