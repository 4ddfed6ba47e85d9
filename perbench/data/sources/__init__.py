"""Built-in data sources, one file each."""
