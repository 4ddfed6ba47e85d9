from pathlib import Path

from perbench.data import load_examples
from perbench.plugins import include
from perbench.specs.load import load_task

include(Path(__file__).parents[1])


def test_every_row_becomes_an_example() -> None:
    task = load_task("my_task")
    for split, users in (("train", {"ada", "ben"}), ("test", {"cleo", "dan"})):
        examples = load_examples(task, split).examples
        assert {example.user for example in examples} == users
        assert all(example.reference and example.question and example.persona for example in examples)
        assert all(bool(example.rejected) == (split == "train") for example in examples)
