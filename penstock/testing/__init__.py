"""A ledger, a venue and a whole account in memory, for tests: the contract suites hold them to the ports."""
