"""Where the cells of a plan are worked: one file each (`perbench.contracts.executor`)."""
