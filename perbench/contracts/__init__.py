"""What each kind of plugin implements. An owner is one file of a plugin root, or one folder with an
__init__.py: the YAML keys it brings, the keys it reads, what of it enters identities, what it asks of models,
and its code."""
