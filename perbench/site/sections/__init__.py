"""Built-in sections of the results page, one file or folder each."""
