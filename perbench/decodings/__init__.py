"""Built-in decodings, one file each."""
