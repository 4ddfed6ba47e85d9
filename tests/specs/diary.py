"""A small root: a task, a model, a trainer, a matrix; and what loading them reports."""

import pytest

from perbench.errors import SpecError

TASK = """\
summary: notes of people
protocol: generation
license: CC0
data:
  hub: org/notes
  config: notes
fields: {user: u, question: q, reference: r, persona: p}
prompt: plain
prompts:
  plain:
    system: "{persona}"
    item: "{text}"
metrics: [rougeL]
headline: rougeL
"""
MATRIX = """\
summary: a small matrix
models: [toy]
trainers: [plain]
sources: [diary/notes]
targets: [diary/notes]
training:
  learning_rate: 1e-4
"""
ROWS, RATE, GRID = "trainers: [plain]", "learning_rate: 1e-4", "training:\n"
TARGETS = "targets: [diary/notes]"
"""Parts of MATRIX that the tests below replace."""
IN_FILE = "diary/notes"
SPOT, TALK = "identification/persona_qa", "embedded/dialogue"
"""Tasks of protocols generation, identification and dialogue."""
TRAINER = '''"""A loss."""

from perbench.api import Trainer


class Plain(Trainer):
    scale: float = 1.0

    def loss(self, batch):
        return -self.scale * batch.factual.logp, batch.factual.logp.new_ones(())
'''


def faults(call, *args, **keys):
    with pytest.raises(SpecError) as error:
        call(*args, **keys)
    return [str(problem) for problem in error.value.problems]
