"""The contracts of all kinds of plugins. An owner is one file of a plugin root, or one folder with an
__init__.py: its YAML keys, the keys it reads, its part of identities, its requests to models, and its
code."""
