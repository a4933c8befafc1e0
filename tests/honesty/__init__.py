"""What research must not be fooled by: planted leaks, and honest strategies beside them."""
