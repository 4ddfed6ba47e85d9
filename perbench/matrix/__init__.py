"""A matrix: which cells it has (plan), and carrying them out (run)."""
