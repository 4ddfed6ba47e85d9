"""Specs composed of their owners' keys."""

from perbench.specs import compose


def test_specs_of_one_set_of_plugins_hold_each_others_classes(monkeypatch):
    def held():
        return compose.task_spec().model_fields["persona"].annotation is compose.persona_spec()

    files = compose._files()
    assert held()
    for number in range(9):  # more sets than are kept
        other = (*files, ("task", "t", "t.yaml", number))
        monkeypatch.setattr(compose, "_files", lambda other=other: other)
        compose.persona_spec()
        monkeypatch.setattr(compose, "_files", lambda: files)
        compose.task_spec()
    assert held()
