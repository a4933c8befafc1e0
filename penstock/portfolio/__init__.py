"""From the weights of strategies to the orders of an account. Pure: no venue and no database."""
