"""Specs by name, path and hub name; overrides and sets; every fault at its line."""

from pathlib import Path

import pytest

from perbench.errors import PerbenchError
from perbench.specs.load import load_model, load_task
from perbench.specs.matrices import load_matrix
from tests.specs.diary import GRID, IN_FILE, MATRIX, RATE, ROWS, TALK, TARGETS, TASK, faults


def test_a_task_by_name_and_by_path_is_the_same(root, monkeypatch):
    path = root / "tasks" / "diary" / "notes.yaml"
    by_name = load_task("diary/notes")
    assert by_name == load_task(path)
    assert (by_name.name, by_name.path) == ("diary/notes", path)
    monkeypatch.chdir(path.parent)
    assert load_task("notes.yaml").name == "diary/notes"


def test_a_trainers_own_settings_are_checked_by_line(root):
    path = root / "leaderboard" / "matrices" / "small.yaml"
    row = "trainers:\n  - name: plain\n    training:\n      learning_rat: 1e-4\n      lora: {rank: [8, 0]}"
    path.write_text(MATRIX.replace(ROWS, row), encoding="utf-8")
    misspelt, zero = faults(load_matrix, "small")
    assert misspelt.startswith(f"{path}:6: unknown key 'learning_rat'. Did you mean 'learning_rate'?")
    assert zero == f"{path}:7: lora.rank: input should be greater than 0, got 0 (an integer)"


def test_overrides_and_data_change_the_spec(root, tmp_path):
    task = load_task("diary/notes", data={"diary": tmp_path, "other": tmp_path}, overrides={"persona.k": 3})
    assert task.spec.persona.k == 3
    assert task.spec.data.data_dir == str(tmp_path)
    assert load_task("diary/notes").spec.persona.k is None


def test_local_data_are_those_of_the_family_that_a_task_reads(root, tmp_path):
    folders = {"diary": tmp_path / "a", "posts": tmp_path / "b"}
    assert load_task("diary/notes", data=folders).spec.data.data_dir == str(tmp_path / "a")
    prepared = {"data.hub": None, "data.prepared": "posts"}
    named = load_task("diary/notes", data=folders, overrides=prepared)
    assert named.spec.data.data_dir == str(tmp_path / "b")
    dashed = {"data.hub": None, "data.prepared": "her-posts"}
    for family in ("her-posts", "her_posts"):
        named = load_task("diary/notes", data={family: tmp_path / "c"}, overrides=dashed)
        assert named.spec.data.data_dir == str(tmp_path / "c")
    del folders["posts"]
    assert load_task("diary/notes", data=folders, overrides=prepared).spec.data.data_dir is None


def test_the_text_that_retrieval_ranks_is_a_template_of_generation_tasks(root):
    path = root / "tasks" / "diary" / "notes.yaml"
    fields = "fields:\n  {user: u, question: q, reference: r, persona: p,\n   item_text: "
    path.write_text(
        TASK.replace("fields: {user: u, question: q, reference: r, persona: p", fields + "'{0} {'")
    )
    (told,) = faults(load_task, path)
    assert told.startswith(f"{path}:9: fields: item_text: ")
    assert told.endswith("; write {{ and }} for literal braces")
    path.write_text(
        TASK.replace("persona: p}", "persona: p, extra: [gold], item_text: '{a}'}").replace(
            "protocol: generation", "protocol: identification"
        )
    )
    assert any(
        "fields.item_text: is not used by protocol identification; remove it" in fault
        for fault in faults(load_task, path)
    )


def test_a_callers_overrides_stay_as_they_are(root):
    given = {"sampling": {"max_new_tokens": 3}, "sampling.top_p": 0.5}
    sampling = load_task("diary/notes", overrides=given).spec.sampling
    assert (sampling.max_new_tokens, sampling.top_p) == (3, 0.5)
    assert given == {"sampling": {"max_new_tokens": 3}, "sampling.top_p": 0.5}


def test_wrong_overrides_are_told_all_at_once(root):
    told = faults(load_task, "diary/notes", overrides={"persona.q": 3, "sampling.top_p": 2, "metrics.x": 1})
    assert told == [
        "override persona.q: task diary/notes: unknown key 'q' under persona."
        " There are: encoder, k, max_tokens, order, priority, query_after, query_match, retrieve, seed,"
        " similarity, summarise, summary, time, whose.",
        "override metrics.x: task diary/notes: unknown key 'x' under metrics. It takes no keys.",
        "override sampling.top_p: sampling.top_p: input should be less than or equal to 1,"
        " got 2 (an integer)",
    ]


def test_an_override_into_an_absent_section_is_blamed_for_what_the_section_lacks(root):
    told = faults(load_task, "diary/notes", overrides={"dialogue.turns": 3})
    assert "override dialogue.turns: missing key 'simulator' in dialogue" in told


@pytest.mark.parametrize("key", ["persona", "sampling", "prompts.plain"])
def test_an_empty_section_takes_nothing_away(root, key):
    task = root / "tasks" / "diary" / "notes.yaml"
    task.write_text(TASK + "persona: {k: 8}\n", encoding="utf-8")
    said = f"task diary/notes: {key}: {{}} changes nothing; name keys in it, or remove it"
    path = root / "leaderboard" / "matrices" / "small.yaml"
    path.write_text(
        MATRIX.replace(TARGETS, f"targets:\n- task: diary/notes\n  {key}: {{}}"), encoding="utf-8"
    )
    assert faults(load_matrix, "small") == [f"{path}:7: {said}"]
    path.write_text(MATRIX + f"tasks: {{diary/notes: {{{key}: {{}}}}}}\n", encoding="utf-8")
    assert faults(load_matrix, "small") == [f"{path}:8: {said}"]


def test_an_empty_mapping_is_a_value_where_it_can_be_one(root):
    task = root / "tasks" / "diary" / "notes.yaml"
    task.write_text(TASK.replace("persona: p}", "persona: p, item_aliases: {a: b}}"), encoding="utf-8")
    spec = load_task("diary/notes", overrides={"fields.item_aliases": {}, "persona_swap": {}}).spec
    assert spec.fields.item_aliases == {}
    assert spec.persona_swap is not None, "switched on, as it comes"


def test_models_by_registry_folder_and_hub_name(root, tmp_path):
    assert load_model("toy").spec.revision == "abc"
    folder = load_model(str(tmp_path))
    assert (folder.path, folder.spec.path) == (None, str(tmp_path))
    assert load_model("org/other").spec.hub == "org/other"
    with pytest.raises(PerbenchError, match=r"unknown model 'tay'.*Did you mean 'toy'"):
        load_model("tay")


def test_a_matrix_with_sets(root):
    sets = ["training.learning_rate=[1e-4, 2e-4]", "tasks.diary/notes.persona.k=2", "seeds=[1, 2]"]
    spec = load_matrix("small", sets).spec
    assert spec.training == {"learning_rate": [1e-4, 2e-4]}
    assert spec.tasks == {"diary/notes": {"persona.k": 2}}
    assert spec.seeds == [1, 2]


def test_sets_that_leave_a_task_out_leave_its_overrides_out(root):
    (root / "tasks" / "diary" / "other.yaml").write_text(TASK, encoding="utf-8")
    path = root / "leaderboard" / "matrices" / "small.yaml"
    overrides = "tasks:\n  diary/notes: {persona.k: 2}\n  diary/other: {persona.k: 3}\n"
    path.write_text(MATRIX.replace(TARGETS, "targets: [diary/notes, diary/other]") + overrides, "utf-8")
    assert load_matrix("small").spec.tasks.keys() == {"diary/notes", "diary/other"}
    kept = load_matrix("small", ["targets=[diary/notes]"]).spec
    assert kept.tasks == {"diary/notes": {"persona.k": 2}}
    kept = load_matrix("small", ["sources=[]", "trainers=[]", "targets=[{task: diary/other, as: x}]"]).spec
    assert kept.tasks == {"diary/other": {"persona.k": 3}}
    (told,) = faults(load_matrix, "small", ["targets=[diary/notes]", "tasks.diary/other.persona.k=1"])
    assert "'diary/other' is neither a source nor a target" in told


def test_sets_that_leave_no_identification_leave_its_identifiers_out():
    assert load_matrix("demo").spec.identifiers
    assert load_matrix("demo", ["targets=[embedded/sotu_writing]"]).spec.identifiers == []
    kept = load_matrix("demo", ["targets=[embedded/sotu_writing, identification/persona_qa]"]).spec
    assert kept.identifiers == load_matrix("demo").spec.identifiers
    (told,) = faults(load_matrix, "demo", ["targets=[embedded/sotu_writing]", "identifiers=[random]"])
    assert "not of protocol identification" in told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training.learnin_rate=1", "unknown key 'learnin_rate'. Did you mean 'learning_rate'?"),
        ("training.lr=1", "unknown key 'lr'. Did you mean 'learning_rate'?"),
        ("trainig.epochs=1", "unknown key 'trainig'. Did you mean 'training'?"),
        ("seed=1", "unknown key 'seed'. Did you mean 'seeds'?"),
        ("seeds.0=1", "unknown key '0' under seeds. It takes no keys."),
        ("seeds=1", "seeds: expected a list, got 1 (an integer)"),
        ("seeds", "expected PATH=VALUE"),
        ("seeds=[1", "bad YAML"),
        ("training.epochs=none", "epochs: expected a number, got 'none' (a string)"),
        ("tasks.diary/notes.persona.kk=2", "unknown key 'kk' under persona. Did you mean 'k'?"),
        ("tasks.diary/nots.persona.k=2", "'diary/nots' is neither a source nor a target"),
        ("training=5", "training: expected a mapping"),
    ],
)
def test_wrong_sets_name_themselves_and_the_way_out(root, text, said):
    (told,) = faults(load_matrix, "small", [text])
    assert told.startswith(f"--set {text}: ")
    assert said in told


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("models: [toy]", "models: [toi]", 2, "unknown model 'toi'"),
        ("models: [toy]", "models: []", 2, "models: an empty list; name at least one"),
        ("models: [toy]", "models: [toy, toy]", 2, "models names toy twice"),
        (ROWS, "trainers: [plane]", 3, "unknown trainer 'plane'. Did you mean 'plain'?"),
        (ROWS, "trainers: [5]", 3, "trainers[0]: expected a string or a mapping, got 5"),
        (ROWS, "trainers: [plain, plain]", 3, "names a row twice"),
        (ROWS, "trainers:\n- name: plain\n  parms: {}", 5, "unknown key 'parms' in trainers[0]"),
        (ROWS, "trainers:\n- params: {}", 4, "missing key 'name' in trainers[0]"),
        (ROWS, "trainers:\n- {name: plain, params: {scale: a}}", 4, "plain: hyperparameter scale='a'"),
        (ROWS, "trainers:\n- name: plain\n  params:\n    scale:\n    - 1\n    - x", 8, "scale='x'"),
        (ROWS, "trainers:\n- {name: plain, params: {scal: 1}}", 4, "Did you mean 'scale'?"),
        (ROWS, "trainers:\n- {name: plain, params: {scale: []}}", 4, "scale: an empty axis"),
        (ROWS, "", 4, "sources given without trainers"),
        ("sources: [diary/notes]", "sources: [diary/note]", 4, "unknown task 'diary/note'. Did you mean"),
        ("targets: [diary/notes]", "targets: diary/notes", 5, "targets: expected a list, got 'diary/notes'"),
        ("targets: [diary/notes]", "", 1, "missing key 'targets'"),
        (TARGETS, "targets: [diary/notes, {task: diary/note}]", 5, "unknown task 'diary/note'. Did you mean"),
        (TARGETS, "targets:\n- task: diary/notes\n  prmpt: x", 7, "Did you mean 'prompt'?"),
        (TARGETS, "targets:\n- task: diary/notes\n  persona:\n    k: 0", 8, "persona.k: input should be gr"),
        (TARGETS, "targets:\n- task: diary/notes\n  persona.k:\n  - 1\n  - x", 9, "persona.k: expected"),
        (TARGETS, "targets:\n- task: diary/notes\n  persona.k: []", 7, "persona.k: an empty axis"),
        (TARGETS, "targets:\n- {task: diary/notes, persona.k: 1, persona: {k: 2}}", 6, "is in the row twice"),
        (TARGETS, "targets:\n- prompt: plain", 6, "missing key 'task' in targets[0]"),
        (TARGETS, "targets:\n- {task: diary/notes, as: 3}", 6, "as: expected a string, got 3"),
        (TARGETS, "targets: [{task: diary/notes, as: a}, {task: diary/notes, as: a}]", 5, "(a) twice"),
        (TARGETS, "targets: [diary/notes, diary/notes]", 5, "targets names diary/notes twice"),
        (RATE, "learning_rate: 1e-4x", 7, "learning_rate: expected a number, got '1e-4x'"),
        (RATE, "learning_rate: .inf", 7, "learning_rate: input should be a finite number"),
        (RATE, "learning_rate: [1, 1]", 7, "the axis names a value twice"),
        (RATE, "learning_rates: 1e-4", 7, "Did you mean 'learning_rate'?"),
        (RATE, "schedule: cosin", 7, "got 'cosin' (a string). Did you mean 'cosine'?"),
        (RATE, "gradient_checkpointing: yes", 7, "expected true or false, got 'yes' (a string)"),
        (RATE, "lora: {rnk: 8}", 7, "unknown key 'rnk' in lora. Did you mean 'rank'?"),
        ("summary: a small", "baseline: ce\nsummary: a small", 1, "baseline 'ce' is not among the trainers"),
        ("summary: a small", "identifiers: [x]\nsummary: a small", 1, "unknown identifier 'x'"),
        (GRID, "tasks:\n  diary/notes:\n    persona.k: 0\n" + GRID, 8, "persona.k: input should be gr"),
        (GRID, "tasks:\n  diary/notes:\n    prsona.k: 1\n" + GRID, 8, "Did you mean 'persona'?"),
        (GRID, "tasks:\n  diary/notes:\n    headline: bleu\n" + GRID, 8, "headline 'bleu' is not among"),
        (GRID, "tasks:\n  diary/x:\n    headline: bleu\n" + GRID, 7, "neither a source nor a target"),
    ],
)  # fmt: skip
def test_a_wrong_matrix_is_told_by_line(root, old, new, line, said):
    path = root / "leaderboard" / "matrices" / "small.yaml"
    assert MATRIX.count(old) == 1
    path.write_text(MATRIX.replace(old, new), encoding="utf-8")
    told = faults(load_matrix, "small")
    assert any(fault.startswith(f"{path}:{line}: ") and said in fault for fault in told), told


def test_all_faults_of_a_matrix_come_together_in_order_of_lines(root):
    path = root / "leaderboard" / "matrices" / "small.yaml"
    text = MATRIX.replace("[toy]", "[toi]").replace("[plain]", "[plane]").replace("1e-4", "x")
    path.write_text(text + "sede: 1\n", encoding="utf-8")
    told = faults(load_matrix, "small")
    assert [fault.split(":")[1] for fault in told] == ["2", "3", "7", "8"]


def test_a_fault_of_a_named_task_is_told_at_the_tasks_own_line(root):
    path = root / "tasks" / "diary" / "notes.yaml"
    path.write_text(TASK.replace("[rougeL]", "[rogueL]"), encoding="utf-8")
    (told,) = faults(load_matrix, "small")
    assert told.startswith(f"{path}:13: metrics[0]: got 'rogueL' (a string). Did you mean 'rougeL'?")


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('item: "{text}"', 'item: "{text"', 12, "prompts.plain: item: expected '}' before end of string"),
        (
            'system: "{persona}"',
            'system: "{persna}"',
            11,
            "system: unknown {persna}; allowed: {persona}, {question}",
        ),
        (
            'system: "{persona}"',
            'system: "none"',
            10,
            "{persona} must be in exactly one of system and user",
        ),
        ("protocol: generation", "protocol: dialogue", 2, "protocol dialogue needs a `dialogue:` section"),
        ("prompt: plain", "prompt: plan", 8, "prompt 'plan' is not one of prompts. Did you mean 'plain'?"),
        ("reference: r, ", "", 7, "fields.reference is required by protocol generation"),
        (
            "  config: notes",
            "  config: notes\n  files: x",
            4,
            "give exactly one of files, hub, lm_eval, prepared, python (got files, hub)",
        ),
        ("headline: rougeL", "headline: bleu", 14, "headline 'bleu' is not among metrics"),
        ("license: CC0", "", 1, "missing key 'license'"),
    ],
)
def test_a_wrong_task_is_told_by_line(root, old, new, line, said):
    path = root / "tasks" / "diary" / "notes.yaml"
    assert TASK.count(old) == 1
    path.write_text(TASK.replace(old, new), encoding="utf-8")
    told = faults(load_task, "diary/notes")
    assert any(f"{path}:{line}: " in fault and said in fault for fault in told), told


def test_a_judge_model_that_is_not_there_is_told_at_its_line(root):
    path = root / "tasks" / "diary" / "talk.yaml"
    model = "{model: toi, instruction: '{profile}', sampling: {}"
    judge = model.replace("profile", "prfile")
    path.write_text(
        TASK.replace("protocol: generation", "protocol: dialogue")
        + f"dialogue:\n  simulator: {model}, opening: Hi}}\n  judge: {judge}}}\n",
        encoding="utf-8",
    )
    told = faults(load_task, "diary/talk")
    assert any(f"{path}:16: unknown model 'toi'" in fault for fault in told)
    assert any(f"{path}:17: unknown model 'toi'" in fault for fault in told)
    assert any(f"{path}:17: dialogue.judge: instruction: unknown {{prfile}}" in fault for fault in told)


def test_sources_and_targets_fit_their_protocols(root):
    path = root / "tasks" / "diary" / "spot.yaml"
    text = TASK.replace("protocol: generation", "protocol: identification").replace("metrics: [rougeL]\n", "")
    text = text.replace("headline: rougeL", "headline: f1").replace("fields: {", "fields: {extra: [gold], ")
    path.write_text(text, encoding="utf-8")
    matrix = root / "leaderboard" / "matrices" / "small.yaml"
    matrix.write_text(MATRIX.replace("sources: [diary/notes]", "sources: [diary/spot]"), encoding="utf-8")
    told = faults(load_matrix, "small")[0]
    assert "source 'diary/spot' is of protocol identification; only" in told
    assert "generation and likelihood tasks train" in told
    matrix.write_text(MATRIX.replace("targets: [diary/notes]", "targets: [diary/spot]"), encoding="utf-8")
    (told,) = faults(load_matrix, "small")
    assert told.startswith(f"{matrix}:5: target 'diary/spot'")
    matrix.write_text(MATRIX + "identifiers: [word_matching]\n", encoding="utf-8")
    (told,) = faults(load_matrix, "small")
    assert told.startswith(f"{matrix}:8: identifiers: no target is of protocol identification")


def test_a_broken_trainer_is_told_at_the_row_that_uses_it(root):
    (root / "trainers" / "plain.py").write_text("import nothing_of_the_sort\n", encoding="utf-8")
    (told,) = faults(load_matrix, "small")
    assert told.startswith(
        f"{root / 'leaderboard' / 'matrices' / 'small.yaml'}:3: {root / 'trainers' / 'plain.py'}:1: "
    )
    assert "nothing_of_the_sort" in told


def test_a_reference_model_that_is_not_there_is_told_where_it_is_named(root):
    rows = "trainers:\n- name: nextquill\n  params:\n    alpha: 0.1\n    effect_model: [initial, live, toi]"
    path = root / "leaderboard" / "matrices" / "small.yaml"
    path.write_text(MATRIX.replace(ROWS, rows), encoding="utf-8")
    (told,) = faults(load_matrix, "small")
    assert told.startswith(f"{path}:7: unknown model 'toi'")


def test_a_fault_that_a_set_brings_is_told_as_its_own():
    (told,) = faults(load_matrix, "perce_aloe_transfer", ["tasks.aloe/dialogue.dialogue.turns=2"])
    assert told.startswith(
        "--set tasks.aloe/dialogue.dialogue.turns=2: task aloe/dialogue: dialogue: report_turns"
    )
    assert "2 turns; set dialogue.report_turns" in told
    sets = ["tasks.aloe/dialogue.dialogue.turns=2", "tasks.aloe/dialogue.dialogue.report_turns=[]"]
    assert load_matrix("perce_aloe_transfer", sets).spec.tasks["aloe/dialogue"]["dialogue.report_turns"] == []


@pytest.mark.parametrize(
    ("task", "brings", "said"),
    [
        (IN_FILE, "metrics: [rouge1]", "headline 'rougeL' is not among metrics. Did you mean"),
        (TALK, "dialogue.judge.pmi: false", "headline 'pmi' is not a metric of protocol dialogue. There"),
    ],
)
def test_what_an_override_leaves_behind_is_told_at_the_override(root, task, brings, said):
    path = root / "leaderboard" / "matrices" / "small.yaml"
    rows = f"targets:\n- task: {task}\n"
    path.write_text(MATRIX.replace(TARGETS, f"{rows}  {brings}\n  max_length: 900"), encoding="utf-8")
    (told,) = faults(load_matrix, "small")
    assert told.startswith(f"{path}:7: task {task}: {said}")
    assert told.endswith(f" Also set {said.split()[0]}.")
    path.write_text(MATRIX.replace(TARGETS, f"{rows}tasks:\n  {task}:\n    {brings}"), encoding="utf-8")
    assert faults(load_matrix, "small") == [told.replace(":7: ", ":9: ")]
    key, _, value = brings.partition(": ")
    path.write_text(MATRIX.replace(TARGETS, rows), encoding="utf-8")
    (by_set,) = faults(load_matrix, "small", [f"tasks.{task}.{key}={value}"])
    assert by_set.removeprefix(f"--set tasks.{task}.{key}={value}") == told.removeprefix(f"{path}:7")


def test_prompts_without_the_one_in_force_are_blamed_for_it(root):
    prompts = "tasks.diary/notes.prompts={x: {system: '{persona}', item: '{text}'}}"
    (told,) = faults(load_matrix, "small", [prompts])
    said = "task diary/notes: prompt 'plain' is not one of prompts. There are: x. Also set prompt."
    assert told == f"--set {prompts}: {said}"
    assert load_matrix("small", [prompts, "tasks.diary/notes.prompt=x"])


def test_other_trainers_by_set_have_no_baseline_of_the_file_s():
    told = faults(load_matrix, "demo", ["trainers=[cee]"])
    assert len(told) == 1
    assert told[0].startswith("--set trainers=[cee]: unknown trainer 'cee'. Did you mean 'ce'?")
    assert load_matrix("demo", ["trainers=[perce]"]).spec.baseline is None
    assert load_matrix("demo", ["trainers=[ce]"]).spec.baseline == "ce"


def test_every_built_in_spec_loads():
    from perbench import plugins

    load = {"task": load_task, "model": load_model, "matrix": load_matrix}
    specs = [plugin for plugin in plugins.discover().values() if plugin.kind in load]
    assert specs
    for plugin in specs:
        named = load[plugin.kind](plugin.name)
        profile = getattr(named.spec, "profile", None)
        assert named.name == (plugin.name if profile is None else f"{plugin.name}-{profile}")
        assert Path(plugin.path).is_file()
