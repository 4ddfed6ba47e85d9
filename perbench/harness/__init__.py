"""perbench's tasks and trained models in lm-evaluation-harness (docs/lm-eval.md)."""
