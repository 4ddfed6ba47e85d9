"""The fields of specs: base classes, marks at fields, sections that several specs share."""
