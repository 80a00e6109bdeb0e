import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr_engine import documents
from ctr_engine.documents import Document, parse_document
from ctr_engine.errors import ConfigError, Fault, FaultsError

QUICK = settings(max_examples=50, deadline=None, derandomize=True)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
PLAIN_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["no", "3:0", "~", "a b", "1", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["A", "b c", "on", "0", "_x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


def lay_out(value, place=(), pieces=None, lines=None):
    """Write JSON with a line for every key and every value, and count the lines by hand."""
    pieces, lines = ([], {}) if pieces is None else (pieces, lines)

    def here():
        return 1 + "".join(pieces).count("\n")

    if place not in lines:
        lines[place] = here()
    if isinstance(value, dict):
        pieces.append("{")
        for i, (key, inner) in enumerate(value.items()):
            pieces.append(",\n" if i else "\n\n")
            lines[(*place, key)] = here()
            pieces.append(json.dumps(key) + "\n :\t\n")
            lay_out(inner, (*place, key), pieces, lines)
        pieces.append("\n}")
    elif isinstance(value, list):
        pieces.append("[")
        for i, inner in enumerate(value):
            pieces.append("\n , \n" if i else " \n")
            lay_out(inner, (*place, i), pieces, lines)
        pieces.append("  ]")
    else:
        pieces.append(json.dumps(value))
    return "".join(pieces), lines


@pytest.mark.smoke
def test_json_gives_values_and_their_lines():
    text = '{\n "A": {\n  "markers": ["CD3",\n   "CD4"]\n },\n "B": 2.5}'
    document = parse_document(text, "map.json")
    assert document.value == {"A": {"markers": ["CD3", "CD4"]}, "B": 2.5}
    assert document.lines == {
        (): 1,
        ("A",): 2,
        ("A", "markers"): 3,
        ("A", "markers", 0): 3,
        ("A", "markers", 1): 4,
        ("B",): 6,
    }
    assert document.duplicates == []


def test_yaml_gives_values_and_their_lines():
    text = "# a comment\nA:\n  markers:\n    - CD3\n    - CD4\n\nB: {x: 1,\n  y: 2}\n"
    document = parse_document(text, "map.yaml")
    assert document.value == {"A": {"markers": ["CD3", "CD4"]}, "B": {"x": 1, "y": 2}}
    assert document.lines == {
        (): 2,
        ("A",): 2,
        ("A", "markers"): 3,
        ("A", "markers", 0): 4,
        ("A", "markers", 1): 5,
        ("B",): 7,
        ("B", "x"): 7,
        ("B", "y"): 8,
    }


@given(value=VALUES, indent=st.sampled_from([None, 0, 1, 3]), ascii_only=st.booleans())
@QUICK
def test_json_is_read_as_the_standard_library_reads_it(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    # repr tells 1 from 1.0 and from True
    assert repr(parse_document(text, "map.json").value) == repr(json.loads(text))


@given(value=VALUES)
@QUICK
def test_the_line_of_every_part_of_a_json_file_is_right(value):
    text, lines = lay_out(value)
    assert json.loads(text) == value
    assert parse_document(text, "map.json").lines == lines


@given(value=PLAIN_VALUES)
@QUICK
def test_json_text_read_as_yaml_gives_the_same_values(value):
    text = json.dumps(value, indent=1)
    assert repr(parse_document(text, "map.yaml").value) == repr(value)


@given(value=PLAIN_VALUES)
@QUICK
def test_json_text_read_as_yaml_gives_the_same_lines(value):
    text = json.dumps(value, indent=1)
    assert parse_document(text, "map.yml").lines == parse_document(text, "map.json").lines


def test_a_missing_place_has_the_line_of_what_is_around_it():
    document = parse_document('{\n "A": {\n  "B": 1}}', "map.json")
    assert document.line(("A", "B")) == 3
    assert document.line(("A", "C", "D")) == 2
    assert document.line(("Z",)) == 1
    assert Document("empty").line(("A",)) is None


def test_a_key_that_is_given_twice_in_json_is_noted_with_its_second_line():
    text = '{"A": 1,\n "B": {"x": 1,\n  "x": 2},\n "A": 3}'
    document = parse_document(text, "map.json")
    assert document.duplicates == [(("B", "x"), 3), (("A",), 4)]
    assert document.value == json.loads(text)
    assert document.line(("A",)) == 1


def test_a_key_that_is_given_twice_in_yaml_is_noted_with_its_second_line():
    document = parse_document("A: 1\nB:\n  x: 1\n  'x': 2\nA: 3\n", "map.yaml")
    assert document.duplicates == [(("B", "x"), 4), (("A",), 5)]


def test_equal_keys_in_two_tables_are_no_duplicates():
    text = '{"A": {"x": 1}, "B": {"x": 1}, "C": [{"x": 1}, {"x": 1}]}'
    assert parse_document(text, "map.json").duplicates == []
    assert parse_document(text, "map.yaml").duplicates == []


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("3:0", "3:0"),
        ("12:30:45", "12:30:45"),
        ("2001-12-14", "2001-12-14"),
        ("1_000", "1_000"),
        ("<<", "<<"),
        ("=", "="),
        ("CD3", "CD3"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("0.5", 0.5),
        (".5", 0.5),
        ("-1e3", -1000.0),
        ("1e-05", 0.00001),
        ("1.", 1.0),
    ],
)
def test_yaml_scalars_follow_version_1_2(scalar, value):
    found = parse_document(f"a: {scalar}\n", "map.yaml").value["a"]
    assert (found, type(found)) == (value, type(value))


def test_yaml_keys_are_text():
    document = parse_document("0: a\nno: b\ntrue: c\n3:0: d\n", "map.yaml")
    assert document.value == {"0": "a", "no": "b", "true": "c", "3:0": "d"}


def test_an_anchor_is_read_wherever_it_is_used():
    document = parse_document("a: &m\n  - CD3\nb: *m\n", "map.yaml")
    assert document.value == {"a": ["CD3"], "b": ["CD3"]}


def test_an_empty_yaml_file_holds_nothing():
    document = parse_document("# only a comment\n", "map.yaml")
    assert document.value is None
    assert document.lines == {}


@pytest.mark.parametrize("source", ["m.yaml", "m.yml", "M.YAML", "folder/m.Yml"])
def test_the_ending_says_that_a_file_is_yaml(source):
    assert parse_document("a: 1", source).value == {"a": 1}


@pytest.mark.parametrize("source", ["m.json", "m", "m.yaml.json"])
def test_any_other_ending_is_json(source):
    with pytest.raises(ConfigError, match=r"line 1: is not valid JSON"):
        parse_document("a: 1", source)


def test_a_fault_of_json_syntax_has_its_line_and_column():
    # line 3 holds ` "B" 2}`: the colon is missing at column 6
    with pytest.raises(
        ConfigError,
        match=r"^map\.json: 1 fault\n  line 3: is not valid JSON: "
        r"Expecting ':' delimiter \(column 6\)$",
    ):
        parse_document('{\n "A": 1,\n "B" 2}', "map.json")


def test_an_empty_file_is_no_json():
    with pytest.raises(ConfigError, match=r"line 1: is not valid JSON: Expecting value"):
        parse_document("", "map.json")


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_json_has_no_number_that_is_not_finite(name):
    with pytest.raises(ConfigError, match=f"is not valid JSON: {name} is not a number of JSON"):
        parse_document(f'{{"a":\n {name}}}', "map.json")


def test_json_with_a_number_of_too_many_digits_is_refused():
    with pytest.raises(ConfigError, match="is not valid JSON: Exceeds the limit"):
        parse_document("9" * 5000, "map.json")


def test_a_fault_of_yaml_syntax_has_its_line():
    with pytest.raises(
        ConfigError, match=r"^map\.yaml: 1 fault\n  line 3: is not valid YAML: expected ',' or ']'"
    ):
        parse_document("a: 1\nb: [1,\n  2}", "map.yaml")


def test_an_unknown_anchor_is_refused_with_its_line():
    with pytest.raises(ConfigError, match=r"line 2: is not valid YAML: found undefined alias"):
        parse_document("a: 1\nb: *nowhere\n", "map.yaml")


def test_two_documents_in_one_yaml_file_are_refused():
    with pytest.raises(ConfigError, match=r"line 2: is not valid YAML: but found another document"):
        parse_document("a: 1\n---\nb: 2\n", "map.yaml")


def test_a_yaml_tag_makes_no_python_object():
    with pytest.raises(ConfigError, match=r"line 2: .*python/name:os\.getcwd"):
        parse_document("a: 1\nb: !!python/name:os.getcwd x", "map.yml")


def test_a_yaml_number_of_too_many_digits_is_refused():
    with pytest.raises(ConfigError, match="is not valid YAML: Exceeds the limit"):
        parse_document("a: " + "9" * 5000, "map.yaml")


@pytest.mark.parametrize("source", ["map.json", "map.yaml"])
def test_a_file_that_is_nested_too_deeply_is_refused(source):
    depth = 100_000 if source == "map.json" else 3_000
    with pytest.raises(ConfigError, match=rf"{source}: 1 fault\n  is nested too deeply to be read"):
        parse_document("[" * depth + "]" * depth, source)


def test_an_anchor_inside_itself_is_refused():
    with pytest.raises(ConfigError, match="is nested too deeply to be read"):
        parse_document("a: &a\n  - *a\n", "map.yaml")


def test_anchors_that_multiply_each_other_are_refused(monkeypatch):
    # 9 levels of 10 references each: a thousand million values from 600 characters
    monkeypatch.setattr(documents, "_MAX_VALUES", 20_000)
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    text = "\n".join(["a0: &a0 [1]", *levels])
    with pytest.raises(ConfigError, match=r"holds more than 20,000 values \(anchors"):
        parse_document(text, "map.yaml")


def test_the_limit_of_values_leaves_room_for_large_files():
    assert parse_document("[" + "1," * 5_000 + "1]", "map.yaml").value == [1] * 5_001
    assert documents._MAX_VALUES >= 1_000_000


def test_a_fault_gives_its_place_before_its_message():
    assert str(Fault("is wrong")) == "is wrong"
    assert str(Fault("is wrong", "A / B")) == "A / B: is wrong"
    assert str(Fault("is wrong", line=3)) == "line 3: is wrong"
    assert str(Fault("is wrong", "A / B", 3)) == "line 3, A / B: is wrong"


def test_faults_are_raised_together_in_the_order_of_the_file():
    error = FaultsError("m.json", [Fault("late", "A", 12), Fault("early", "B", 2), Fault("none")])
    assert str(error) == "m.json: 3 faults\n  none\n  line 2, B: early\n  line 12, A: late"
    assert [fault.line for fault in error.faults] == [None, 2, 12]
