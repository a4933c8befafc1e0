"""Parameter searches: the space and the runner."""
