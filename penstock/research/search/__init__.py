"""Parameter searches: the space, the runner and the trials."""
