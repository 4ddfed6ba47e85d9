"""What the owners of the middle bring: protocols, ways to choose and rewrite a history, metrics. An owner is one
file of a plugin root (or one folder with an __init__.py); its pydantic models of its own YAML keys, what it reads,
what of it enters a cell's identity, what it asks of models, and its code stand there and nowhere else."""
