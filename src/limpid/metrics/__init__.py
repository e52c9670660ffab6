"""How like real pictures drawn ones are: pure functions of features, and the networks that see them."""
