"""ALOE (arXiv 2410.03642): profiles and personalities of simulated users."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from perbench.api import Family, RawData, Remote, Skip
from perbench.errors import PerbenchError

FILES = {
    "datasets/profile_eval.jsonl": "9e4b212fca3d7a023062d7f7d29e1b41f78d9822",
    "datasets/personality_eval.jsonl": "887358eef6e65461e8bac2d69d919f344c0aadb9",
    "datasets/profile.jsonl": "6f0e4f0c1bc5689ccd51c1cd23c2a608e17df13b",
    "datasets/personality.jsonl": "a1f6fac722b816a6597767d9a0a5b17f5c488e0c",
    "evaluation/eval_own.py": "fa781c7bf40676957f16eea775c2db258b8947e5",
}
PERSONALITIES = 5
"""Of the seven personalities for evaluation, ALOE's script takes the first so many."""
OWN_TASK = Path(__file__).parents[1] / "aloe" / "dialogue.yaml"
OFFICIAL_TASK = "tasks/aloe/dialogue_official.yaml"


class Aloe(Family):
    """personas/test: every evaluation profile with the first five personalities, 100 personas. profiles/train
    and personalities/train: the texts for training, one by one. Where the official evaluation script is among
    the files, also a task with its wording; the script is read, never run."""

    remotes = (
        Remote(
            "github",
            "ShujinWu-0814/ALOE",
            {path: f"git:{blob}" for path, blob in FILES.items()},
            "b1b8285e3a759c8f7d9b84034447c89857f02e98",
        ),
    )
    tables = ("personas/test", "profiles/train", "personalities/train")

    def rows(self, table: str, raw: RawData) -> Iterator[Mapping[str, Any] | Skip]:
        if table != "personas/test":
            kind = {"profiles": "profile", "personalities": "personality"}[table.partition("/")[0]]
            for number, text in enumerate(raw.texts(f"datasets/{kind}", kind)):
                yield {"user": f"{kind}-{number}", "text": text} if text.strip() else Skip("empty text")
            return
        profiles, personalities = (
            list(raw.texts(f"datasets/{kind}_eval", f"{kind}_eval")) for kind in ("profile", "personality")
        )
        for row, profile in enumerate(profiles):
            for column, personality in enumerate(personalities[:PERSONALITIES]):
                user = f"profile-{row}-personality-{column}"
                yield {"user": user, "profile": profile, "personality": personality}

    def specs(self, raw: RawData) -> Mapping[str, str]:
        import yaml

        script = raw.source("evaluation/eval_own.py") or raw.source("eval_own.py")
        if script is None:
            return {}
        task = yaml.safe_load(OWN_TASK.read_text(encoding="utf-8"))
        simulator, judge = task["dialogue"]["simulator"], task["dialogue"]["judge"]
        lines = _template(script, "role_play_prompt", "profile", "personality").splitlines()
        # Its last line asks for the first message, which is a turn of its own here.
        *instruction, opening = (line.strip() for line in lines if line.strip())
        simulator["instruction"], simulator["opening"] = "\n".join(instruction), opening
        names = ("profile", "personality", "message", "response")
        judge["instruction"] = _template(script, "evaluate_prompt", *names).strip()
        task["summary"] += ", official wording"
        task["notes"] = (
            "As aloe/dialogue, with the wording of simulator and judge as ALOE's evaluation script has it. "
            "There the simulator's instruction is part of the first user turn; here it is the system turn."
        )
        task["data"]["data_dir"] = "../.."
        return {OFFICIAL_TASK: yaml.safe_dump(task, sort_keys=False, allow_unicode=True, width=110)}


def _template(script: str, variable: str, *names: str) -> str:
    """The text that a script assigns to a variable, its empty braces named one after the other."""
    try:
        tree = ast.parse(script)
    except SyntaxError as error:
        raise PerbenchError(f"the evaluation script is no Python: line {error.lineno}: {error.msg}") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == variable for target in node.targets):
            for inner in ast.walk(node.value):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                    text = inner.value
                    for name in names:
                        text = text.replace("{}", f"{{{name}}}", 1)
                    return text
    raise PerbenchError(f"the evaluation script assigns no text to {variable}")
