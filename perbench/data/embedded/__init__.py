"""Tasks' texts that pip packages carry: read as files, never imported, and checked by digest."""
