"""A matrix: planning its cells, and running them."""
