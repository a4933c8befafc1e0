"""How a use case is reached and shown."""
