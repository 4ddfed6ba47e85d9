"""Fields of specs: base classes, field marks, and sections shared by several specs."""
