"""Where records are kept: an embedded PostgreSQL, and the stores on any PostgreSQL."""
