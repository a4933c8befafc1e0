"""Which venue an order goes to, for an account on several."""
