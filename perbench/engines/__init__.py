"""Built-in engines, which serve models; one folder each."""
