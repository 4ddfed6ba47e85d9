"""Built-in executors, which run the cells of a plan; one file each."""
