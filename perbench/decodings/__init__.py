"""The built-in decodings, a file each."""
