"""The YAML reader: values by YAML 1.2, the line of every key, and every fault at once."""

import json

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perbench import plugins
from perbench.errors import SpecError
from perbench.specs.yaml import parse_value, read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-6", 2e-6),
        ("1E5", 1e5),
        ("-.5", -0.5),
        (".inf", float("inf")),
        ("3", 3),
        ("010", 10),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("off", "off"),
        ("~", None),
        ("", None),
        ("'3'", "3"),
        ('"true"', "true"),
        ("naïve – 日本 \U0001f600", "naïve – 日本 \U0001f600"),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("1_000", "1_000"),
        ("9" * 30, 1e30),
        ("[1, a, [2.5]]", [1, "a", [2.5]]),
        ("{a: {b: null}}", {"a": {"b": None}}),
        ("{1: x}", {"1": "x"}),
    ],
)
def test_values_follow_yaml_1_2(text, value):
    assert parse_value(text, "--set") == value
    assert type(parse_value(text, "--set")) is type(value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcdefgh.", max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(deadline=None)  # a busy machine is no fault
@given(st.dictionaries(st.text("abcdefgh", min_size=1, max_size=4), JSON, max_size=4))
def test_json_is_read_as_what_it_is(data):
    """YAML 1.2 holds JSON. Only text beyond U+FFFF differs: JSON escapes it by surrogates, YAML does not."""
    assert parse_value(json.dumps(data), "x") == data


def test_every_key_and_item_has_its_line(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(
        "# note\na: 1\nb:\n  c: |\n    two\n    lines\n  d:\n    - x\n    - y: 1\n", encoding="utf-8"
    )
    document = read(path)
    assert document.data == {"a": 1, "b": {"c": "two\nlines\n", "d": ["x", {"y": 1}]}}
    lines = {
        (): 1,
        ("a",): 2,
        ("b",): 3,
        ("b", "c"): 4,
        ("b", "d"): 7,
        ("b", "d", 0): 8,
        ("b", "d", 1, "y"): 9,
    }
    for place, line in lines.items():
        assert document.place(place).line == line
    assert document.place(("b", "d", 7, "z")).line == 7, "the nearest enclosing key stands for a missing one"


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("a: 1\nb: 2\na: 3\n", ["3: duplicate key 'a', first given on line 1"]),
        (
            "x:\n  a: 1\n  a: 2\nb: 1\nb: 2\n",
            ["3: duplicate key 'a', first given on line 2", "5: duplicate key 'b'"],
        ),
        ("a: &x 1\nb: *x\n", ["1: anchor &x", "2: alias *x"]),
        ("a: {b: 1}\n<<: {c: 1}\n", ["2: merge keys"]),
        (
            "a: !!python/object/apply:os.system ['true']\n",
            ["1: tag tag:yaml.org,2002:python/object/apply:os.system"],
        ),
        ("a: 1\n---\nb: 2\n", ["2: a second document"]),
        ("- 1\n", ["1: expected a mapping of keys to values, got a list"]),
        ("", ["1: expected a mapping of keys to values, got nothing"]),
        ("a:\n\t- 1\n", ["2: bad YAML: ", "indent with spaces"]),
        ("a: b: c\n", ["1: bad YAML: ", "quote a value that holds ': '"]),
        ("ok: 1\na: [1, 2\n", ["3: bad YAML: "]),
        ("a: 1\nb: \0\n", ["2: bad YAML: special characters"]),
        ("a: {{persona}}\n", ["1: a key must be a plain word"]),
        ("a: " + "[" * 5000, ["1: bad YAML: nested deeper than 40"]),
    ],
)
def test_faults_name_their_lines(tmp_path, text, faults):
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as error:
        read(path)
    for fault in faults:
        assert fault in str(error.value)
    assert all(problem.path == path for problem in error.value.problems)


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(SpecError, match=r"none\.yaml: cannot be read: No such file"):
        read(tmp_path / "none.yaml")
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: caf\xe9\n")
    with pytest.raises(SpecError, match=r"latin\.yaml: not UTF-8"):
        read(latin)


def test_a_faulty_value_names_its_option():
    with pytest.raises(SpecError, match=r"^--set a=\[1: bad YAML"):
        parse_value("[1", "--set a=[1")


def test_what_is_too_large_for_a_spec_is_refused_at_once(tmp_path):
    path = tmp_path / "big.yaml"
    path.write_text("a: 1\n# " + "x" * 1_000_000)
    with pytest.raises(SpecError, match=r"big\.yaml: more than 1,000,000 bytes.*a file of rows"):
        read(path)
    path.write_text("a:\n" + "".join(f"  k{n}: 1\n" for n in range(50_001)))
    with pytest.raises(SpecError, match=r"big\.yaml:5000\d: .*more than 50,000 keys and list items"):
        read(path)
    path.write_text("a: [" + "1," * 50_001 + "1]")
    with pytest.raises(SpecError, match=r"big\.yaml:1: .*more than 50,000 keys and list items"):
        read(path)


def test_a_long_file_is_read_like_a_short_one(tmp_path):
    path = tmp_path / "long.yaml"
    path.write_text(
        "b: {c: yes, d: [1, 2e-6, '3']}\na: |\n" + "  a text: of words, - and such\n" * 3000 + "e: ~\n"
    )
    document = read(path)
    assert document.data["b"] == {"c": "yes", "d": [1, 2e-6, "3"]}
    assert document.data["a"].count("\n") == 3000
    assert document.data["e"] is None
    assert (document.place(("a",)).line, document.place(("e",)).line) == (2, 3003)
    path.write_text(path.read_text() + "b: 1\n")
    with pytest.raises(SpecError, match=r"long\.yaml:3004: duplicate key 'b', first given on line 1"):
        read(path)


def outcome(path, text):
    path.write_text(text, encoding="utf-8")
    try:
        return read(path)
    except SpecError as error:
        return [(problem.line, problem.message) for problem in error.problems]


PIECES = [
    *("a: 1", "b:", "  - x", "  c: 'q'", "- y", '"k": |', "   text", "[1, 2]", "# c", "é: 日", "\t", "? z"),
    *("&a", "}", "", "{a:1}", "x: a:b", "%Y", "---", "d: >-", "- - e: [f,", "*a", "g: |#c", "\ufeff"),
    'h: "\\U00110000"',
]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PIECES), max_size=8))
def test_a_text_reads_the_same_with_and_without_libyaml(tmp_path, pieces):
    text, path = "\n".join(pieces), tmp_path / "spec.yaml"
    fast = outcome(path, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(yaml, "CSafeLoader", raising=False)
        assert outcome(path, text) == fast


@pytest.mark.parametrize("text", ["x\udcff", '"\\U00110000"', "y: \udcff" + " " * 60_000])
def test_characters_that_do_not_exist_are_faults(text):
    with pytest.raises(SpecError, match="--param a: bad YAML"):
        parse_value(text, "--param a")


def test_every_built_in_file_reads_the_same_with_and_without_libyaml(monkeypatch):
    files = [plugin.path for plugin in plugins.discover().values() if plugin.path.suffix == ".yaml"]
    assert len(files) > 50
    fast = [read(path) for path in files]
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert [read(path) for path in files] == fast
