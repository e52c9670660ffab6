"""Networks whose features scores are made of."""
