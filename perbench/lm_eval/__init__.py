"""Tasks of lm-evaluation-harness as targets: what personalisation costs elsewhere.

`catalogue` finds a task and says what it is, `protocol` runs it. The other direction needs no code: a
checkpoint is a plain folder of peft or transformers, which `lm_eval` reads (docs/running.md).
"""

PREFIX = "lm_eval:"
"""What a target's name starts with: "lm_eval:drop"."""
