"""How like real images drawn ones are: pure functions of features, and the networks that see them."""
