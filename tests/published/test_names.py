"""Names of published files: safe, bounded, one for each set-up."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from perbench.published.form import file_name
from perbench.store import CellRecord, Labels

NAMES = st.text(max_size=300)


def made(labels: Labels, **inputs: object) -> CellRecord:
    return CellRecord(
        kind="eval",
        identity="0" * 64,
        inputs={"seed": labels.seed, **inputs},
        status="done",
        labels=labels,
        seconds=1.0,
        started="2026-01-01T00:00:00Z",
        finished="2026-01-01T00:00:01Z",
        environment={},
        command="perbench run",
    )


@given(model=NAMES, trainer=NAMES | st.none(), source=NAMES | st.none(), target=NAMES)
@example(model="../../etc/passwd", trainer="/", source="..", target="a\x00b")
@example(model="-rf", trainer=".hidden", source="C:\\con", target="\u202egpj.exe")
@example(model="", trainer=None, source=None, target="   ")
def test_any_labels_give_a_safe_name(
    model: str, trainer: str | None, source: str | None, target: str
) -> None:
    name = file_name(made(Labels(model=model, trainer=trainer, source=source, target=target, seed=0)), None)
    assert re.fullmatch(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?\.json", name)
    assert len(name) <= 4 * 40 + 4 * 2 + 10 + 5


def test_a_name_by_hand() -> None:
    labels = Labels(
        model="Qwen/Qwen3-4B", trainer="ce", source="longlamp/pag", target="longlamp/pag (as x)", seed=3
    )
    name = file_name(made(labels), None)
    assert re.fullmatch("qwen-qwen3-4b--ce--longlamp-pag--longlamp-pag-as-x--[0-9a-f]{10}.json", name)


def test_seeds_share_a_name_and_settings_do_not() -> None:
    one, other = (Labels(model="m", target="t", seed=seed) for seed in (0, 1))
    assert file_name(made(one), None) == file_name(made(other), None)
    names = {
        file_name(made(one), None),
        file_name(made(one, data="other"), None),
        file_name(made(one), made(one, training="other")),
        file_name(made(one.model_copy(update={"model_label": "other"})), None),
        file_name(made(Labels(model="M", target="t", seed=0)), None),  # no file systems that ignore case
    }
    assert len(names) == 5
