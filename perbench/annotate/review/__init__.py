"""A local web page for accepting, editing or rejecting gold spans."""
