"""Trading without a venue: one fill model, the paper account, and the replay of decisions."""
