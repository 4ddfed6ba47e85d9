"""The built-in sources of rows, a file each."""
