"""Every fault of a manual file: where it stands, what would do, and all of them at once."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ctr_engine.cli.options import read_any, read_document
from ctr_engine.documents import parse_document
from ctr_engine.errors import ConfigError, Fault
from ctr_engine.refinement.manual import ManualPlan, read_manual
from tests.bad_inputs import good_sample
from tests.builders import marker_map
from tests.cli.test_annotate import ctr, words

MAP = marker_map(
    {
        "R": {"markers": ["A"], "subtypes": {"X": {"markers": ["B"]}, "Y": {"markers": ["C"]}}},
        "S": {"markers": ["D"], "subtypes": {"X": {"markers": ["E"]}}},
    }
)
IDS = [str(number) for number in range(26)]
SOME = "there are: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ..."
TYPES = "marker_map.json has no cell type {!r}. It has: R, S, X, Y."
TWO_X = "The label 'X' stands for 2 cell types: 'R / X'; 'S / X'. Give the path."
NEW = " Add new: true to make one."
FORMS = ("yaml", "yml", "json")


def read(text: str, name: str = "manual.yaml") -> ManualPlan:
    return read_manual(parse_document(text, name), MAP, IDS, 0.4)


def faults_of(text: str, name: str = "manual.yaml") -> list[Fault]:
    with pytest.raises(ConfigError) as caught:
        read(text, name)
    assert str(caught.value).startswith(f"{name}: {len(caught.value.faults)} fault")
    return list(caught.value.faults)


@dataclass(frozen=True)
class Line:
    """A line of a file, and the faults that stand there: place and message of each."""

    text: str
    faults: tuple[tuple[str, str], ...] = ()


def a_list(key: str, *entries: tuple[Any, list[tuple[str, str]]], form: str) -> list[Line]:
    """A section with one entry in each line; ``line:KEY.N`` stands for the line of an entry."""
    rows = [
        (json.dumps(entry), tuple((f"{key}.{i}{where}", message) for where, message in faults))
        for i, (entry, faults) in enumerate(entries)
    ]
    if form != "json":
        return [Line(f"{key}:"), *(Line(f"- {text}", faults) for text, faults in rows)]
    ends = [","] * (len(rows) - 1) + ["]"]
    body = [Line(text + end, faults) for (text, faults), end in zip(rows, ends, strict=True)]
    return [Line(f'"{key}": ['), *body]


def a_value(key: str, value: Any, *messages: str) -> list[Line]:
    faults = tuple((key, message) for message in messages)
    return [Line(f'"{key}": {json.dumps(value)}', faults)]


def a_table(key: str, *rows: tuple[str, Any, list[str]], form: str) -> list[Line]:
    lines = [
        Line(
            f"{'  ' * (form != 'json')}{json.dumps(name)}: {json.dumps(value)}",
            tuple((f"{key}.{name}", message) for message in messages),
        )
        for name, value, messages in rows
    ]
    if form != "json":
        return [Line(f"{key}:"), *lines]
    ends = [","] * (len(lines) - 1) + ["}"]
    body = [Line(one.text + end, one.faults) for one, end in zip(lines, ends, strict=True)]
    return [Line(f'"{key}": {{'), *body]


def whole(parts: list[list[Line]], form: str) -> tuple[str, list[tuple[int, str, str]]]:
    """Text of a file, and line, place and message of each fault in it."""
    if form == "json":
        parts = [[*part[:-1], Line(part[-1].text + ",", part[-1].faults)] for part in parts]
        last = parts[-1][-1]
        parts[-1][-1] = Line(last.text.removesuffix(",") + "}", last.faults)
        parts.insert(0, [Line("{")])
    lines = [line for part in parts for line in part]
    found = [
        (number, where, message)
        for number, line in enumerate(lines, start=1)
        for where, message in line.faults
    ]
    return "\n".join(line.text for line in lines) + "\n", found


def everything(form: str, first: int) -> list[list[Line]]:
    """Sections that hold each fault; ``first`` is the line of the first section's first entry."""
    twice = f"cluster '0' is named twice, first in line {first}"
    overrides = a_list(
        "overrides",
        ({"cluster_id": "0", "cell_type": "S"}, []),
        ({"cluster_id": "77", "cell_type": "R"}, [("", f"there is no cluster '77'; {SOME}")]),
        ({"cluster_id": "1", "cell_type": "Z"}, [("", TYPES.format("Z") + NEW)]),
        (
            {"cluster_id": "2", "cell_type": "Z", "new": "yes"},
            [(".new", "is true or false; got 'yes'")],
        ),
        ({"cluster_id": "3", "cell_type": 7}, [("", "the label is text; got 7")]),
        ({"cluster_id": "4", "cell_type": " "}, [("", "the label is text; got ' '")]),
        (
            {"cluster_id": "5", "cell_type": "R", "reson": "x"},
            [(".reson", "unknown key 'reson'. Did you mean 'reason'?")],
        ),
        (
            {"cluster_id": "24", "cell_type": "R", "qqq": "x"},
            [(".qqq", "unknown key 'qqq'. Known: author, cluster, date, label, new, reason.")],
        ),
        ({"cluster_id": "6"}, [("", "a override needs 'label'")]),
        ({}, [("", "a override needs 'cluster'"), ("", "a override needs 'label'")]),
        ("R", [("", 'is a table, such as {cluster_id: "3"}')]),
        (None, [("", 'is a table, such as {cluster_id: "3"}')]),
        ({"cluster": 0, "label": "R"}, [("", twice)]),
        form=form,
    )
    merge = a_list(
        "merge",
        ({"source_clusters": ["7"]}, [("", "clusters is a list of two or more")]),
        ({"source_clusters": "8"}, [("", "clusters is a list of two or more")]),
        (
            {"source_clusters": ["9", "9", "10"]},
            [("", f"cluster '9' is named twice, first in line {first + len(overrides) + 2}")],
        ),
        (
            {"source_clusters": ["11", "0"], "target_label": "Z", "new": False},
            [("", twice), ("", TYPES.format("Z") + NEW)],
        ),
        ({"reason": "x"}, [("", "a merge needs 'clusters'")]),
        (
            {"clusters": ["12", "78", "79"]},
            [("", f"there is no cluster '{name}'; {SOME}") for name in ("78", "79")],
        ),
        form=form,
    )
    subcluster = a_list(
        "subcluster",
        *(
            (
                {"cluster_id": name, "resolution": value},
                [(".resolution", f"is a number above 0; got {value!r}")],
            )
            for name, value in {"13": 0, "14": -0.5, "15": True, "16": "0.3", "17": None}.items()
        ),
        ({"resolution": 1.0}, [("", "a subcluster needs 'cluster'")]),
        form=form,
    )
    refinements = a_list(
        "refinements",
        (
            {"cluster": "18", "action": "overide"},
            [("", "unknown action 'overide'. Did you mean 'override'?")],
        ),
        (
            {"cluster": "18"},
            [
                (
                    "",
                    "unknown action None. Known: override, merge, subcluster, relabel, skip.",
                )
            ],
        ),
        (
            {"cluster": "18", "action": "relabel", "label": "R", "new": True},
            [(".new", "unknown key 'new'. Known: author, cluster, date, label, reason.")],
        ),
        ({"cluster": "19", "action": "relabel", "label": "X"}, [("", TWO_X)]),
        ({"cluster": "20", "action": "relabel", "label": "Z"}, [("", TYPES.format("Z"))]),
        ({"cluster": "21", "action": "relabel"}, [("", "a relabel needs 'label'")]),
        (
            {"cluster": "22", "action": "skip", "date": "31.1.2026"},
            [(".date", "is a day such as 2026-01-31; got '31.1.2026'")],
        ),
        (
            {"cluster": "23", "action": "override", "label": "R", "date": "2026-02-30"},
            [(".date", "is a day such as 2026-01-31; got '2026-02-30'")],
        ),
        ({"cluster": "0", "action": "skip"}, [("", twice)]),
        form=form,
    )
    empty = "holds no cells; write one id in each line"
    cells = a_table(
        "cells",
        ("0", "cell_1\ncell_2\n", []),
        ("13", "", [empty]),
        ("14", "\n\n", [empty]),
        ("15", 5, [empty]),
        ("16", ["cell_1"], [empty]),
        ("99", "cell_1\n", ["no entry of the file names cluster '99'"]),
        form=form,
    )
    return [
        overrides,
        merge,
        subcluster,
        refinements,
        cells,
        a_value("relabel", {"9": "R"}, "is a list of entries"),
        a_value("skip", 3, "is a list of entries"),
        a_value("overides", [], "unknown key 'overides'. Did you mean 'overrides'?"),
        a_value(
            "7",
            [],
            "unknown key '7'. Known: overrides, merge, subcluster, relabel, skip, refinements, "
            "cells, version.",
        ),
        a_value("version", "1.0"),
    ]


@pytest.mark.parametrize("form", FORMS)
def test_every_fault_of_one_file_is_told_at_once_with_its_line(form):
    first = 2 + (form == "json")
    text, expected = whole(everything(form, first), form)
    assert yaml.safe_load(text).keys() >= {"overrides", "cells", "version"}, "well formed"
    name = f"manual.{form}"
    found = faults_of(text, name)
    assert sorted((f.line, f.where, f.message) for f in found) == sorted(expected)
    with pytest.raises(ConfigError) as caught:
        read(text, name)
    header, *told = str(caught.value).split("\n")
    assert header == f"{name}: {len(expected)} faults"
    assert sorted(told) == sorted(f"  line {n}, {where}: {what}" for n, where, what in expected)
    lines = [int(one.split(",")[0].removeprefix("  line ")) for one in told]
    assert lines == sorted(lines), "in the order of the file"


@pytest.mark.parametrize("form", FORMS)
def test_the_same_file_without_the_faulty_lines_is_read(form):
    """Else the file above would be refused for another reason."""
    parts = [
        [line for line in part if not line.faults] for part in everything("yaml", 2)[:1]
    ]  # cluster 0 alone
    text, _ = whole(parts, "yaml")
    if form == "json":
        text = json.dumps(yaml.safe_load(text), indent=1)
    plan = read(text, f"manual.{form}")
    assert [(op.op, op.cluster, op.path) for op in plan.operations] == [("override", "0", "S")]
    assert plan.entries == ("overrides.0",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cells: []\n", "line 1, cells: is a table: the name of a cluster, and its cells"),
        ("version: '1.0'\ncells:\n", "line 2, cells: is a table"),
        ("cells: cell_1\n", "line 1, cells: is a table"),
        ("skip: [{cluster: 1}]\ncells:\n  1:\n", "line 3, cells.1: holds no cells"),
        ("- skip\n", "line 1: is a table of overrides, merge, subcluster, relabel, skip or"),
        ("skip\n", "line 1: is a table of overrides, merge"),
        ("\n\n3\n", "line 3: is a table of overrides, merge"),
        ("skip:\n  cluster: 3\n", "line 1, skip: is a list of entries"),
        ("overrides:\n", "line 1, overrides: is a list of entries"),
        ("subcluster:\n- cluster: 1\n  resolution: .nan\n", "line 3, subcluster.0.resolution: is"),
        ("subcluster:\n- cluster: 1\n  resolution: .inf\n", "got '.inf'"),
        ("overrides:\n- cluster: 1\n  label: R\n  date: 2026-1-31\n", "line 4, overrides.0.date"),
        (
            "merge:\n- clusters: [3, 5]\n- clusters: [4, 3]\n",
            "line 3, merge.1: cluster '3' is named twice, first in line 2",
        ),
        ("merge:\n- clusters: []\n", "line 2, merge.0: clusters is a list of two or more"),
        ("relabel: [{cluster: 1, label: Unassigned}]", TYPES.format("Unassigned")),
    ],
)
def test_a_fault_that_a_file_has_alone(text, message):
    assert message in "\n".join(map(str, faults_of(text)))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"skip": [{"cluster": "1"}]', 1),
        ('{"skip":\n [{"cluster": "1"},\n ]}', 3),
        ('{"skip":\n [{"cluster": 01}]}', 2),
        ("", 1),
        ("skip: []", 1),
    ],
)
def test_invalid_json_is_told_with_its_line(text, line):
    (fault,) = faults_of(text, "manual.json")
    assert fault.line == line
    assert fault.message.startswith("is not valid JSON: ")


def test_nan_is_no_number_of_json():
    (fault,) = faults_of('{"subcluster": [{"cluster": "1", "resolution": NaN}]}', "manual.json")
    assert fault.message == "is not valid JSON: NaN is not a number of JSON"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("skip: [\n", 2),
        ("skip:\n- {cluster: 1\n- {cluster: 2}\n", 3),
        ("skip:\n\t- {cluster: 1}\n", 2),
        ("a: b: c\n", 1),
        ("skip: []\n---\nskip: []\n", 2),
        ("skip:\n- cluster: !!python/name:os.system 1\n", 2),
        ("skip:\n- {cluster: *one}\n", 2),
        ("skip:\n- ? [cluster]\n  : 1\n", 2),
    ],
)
def test_invalid_yaml_is_told_with_its_line(text, line):
    (fault,) = faults_of(text)
    assert fault.line == line


@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n", "---\n", "{}\n", "version: 1.0\n"])
def test_a_file_that_asks_for_nothing_is_read(text):
    assert read(text) == ManualPlan()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("m.yaml", "skip:\n- {cluster: 1}\nskip:\n- {cluster: 2}\n", ["line 3: 'skip'"]),
        ("m.yaml", "skip:\n- cluster: 1\n  reason: a\n  reason: b\n", ["line 4: 'reason'"]),
        ("m.yml", "cells:\n  1: a\n  '1': b\nskip: [{cluster: 1}]\n", ["line 3: '1'"]),
        ("m.json", '{"skip": [],\n"skip": [],\n"skip": []}', ["line 2: 'skip'", "line 3: 'skip'"]),
    ],
)
def test_a_key_that_stands_twice_is_told_with_its_line(name, text, expected, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_document(tmp_path / name)
    assert [str(fault) for fault in caught.value.faults] == [
        f"{x} is given twice" for x in expected
    ]


# ---------------------------------------------------------------------- as it is written


@pytest.mark.parametrize("name", ["1.10", "03", "1e2", "true", "+5", "1.0e0"])
def test_every_id_is_read_as_it_is_written(name):
    text = f"skip: [{{cluster_id: {name}}}]"
    ids = [name, "1.1", "3.0", "100.0", "True", "5", "1.0"]
    assert read_manual(parse_document(text, "m.yaml"), MAP, ids, 0.4).skipped == (name,)


@pytest.mark.parametrize("form", ["yaml", "json"])
@pytest.mark.parametrize("number", ["1e999", "1" + "0" * 400], ids=["infinite", "enormous"])
def test_a_resolution_that_is_no_finite_number_is_a_fault(number, form):
    text = f'{{"subcluster": [\n{{"cluster": "1", "resolution": {number}}}]}}'
    (fault,) = faults_of(text, f"manual.{form}")
    assert (fault.line, fault.where) == (2, "subcluster.0.resolution")


@pytest.mark.parametrize("action", ["[skip]", "{skip: 1}"])
def test_an_action_that_is_no_text_is_a_fault(action):
    (fault,) = faults_of(f"refinements:\n- {{cluster: 1, action: {action}}}\n")
    assert fault.line == 2


@pytest.mark.parametrize(
    "entry",
    [
        "skip: [{cluster_id: 1, cluster: 2}]",
        "overrides: [{cluster_id: 1, cell_type: R, label: S}]",
        "merge: [{clusters: [1, 2], source_clusters: [3, 4]}]",
    ],
)
def test_two_names_of_the_same_thing_in_one_entry_are_a_fault(entry):
    assert len(faults_of(entry)) == 1


def test_an_action_in_a_section_is_an_unknown_key():
    (fault,) = faults_of("overrides: [{cluster_id: 1, cell_type: R, action: merge}]")
    assert "unknown key 'action'" in fault.message


@pytest.mark.parametrize("more", ["", ", new: true"])
def test_the_remedy_of_an_ambiguous_label_is_its_path_alone(more):
    (fault,) = faults_of(f"overrides: [{{cluster_id: 1, cell_type: X{more}}}]")
    assert fault.message == TWO_X


def test_new_in_a_merge_without_a_label_is_looked_at():
    (fault,) = faults_of("merge: [{clusters: [1, 2], new: 3}]")
    assert fault.message == "is true or false; got 3"


@pytest.mark.parametrize(
    "text",
    [
        "overrides: [{cluster_id: 77, cell_type: R, why: x}]",
        "overrides: [{cluster_id: 1, cell_type: Z, why: x}]",
        "subcluster: [{cluster_id: 77, resolution: 0, why: x}]",
        "merge: [{clusters: [77], label: Z}]",
        "overrides: [{cluster_id: 1, cell_type: 7, new: 1}]",
        "overrides: [{cell_type: Z}]",
    ],
)
def test_all_faults_of_one_entry_are_told(text):
    assert len(faults_of(text)) >= 2


def test_cells_of_a_faulty_entry_are_no_fault_of_their_own():
    found = faults_of("overrides: [{cluster: 1, label: R, why: x}]\ncells: {1: cell_1}\n")
    assert [fault.where for fault in found] == ["overrides.0.why"]


def test_a_repeated_key_is_told_with_the_other_faults(tmp_path):
    (tmp_path / "m.yaml").write_text("skip:\n- {cluster: 77}\nmerge: []\nmerge: []\n")
    with pytest.raises(ConfigError) as caught:
        read_manual(read_any(tmp_path / "m.yaml"), MAP, IDS, 0.4)
    assert [fault.line for fault in caught.value.faults] == [2, 4]


# ---------------------------------------------------------------------- properties


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 25)
    | st.floats(-2, 2)
    | st.sampled_from(["0", "3", "77", "R", "X", "Z", "", "skip", "override", "merge", "a\nb"]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
FIELDS = ("cluster", "cluster_id", "clusters", "source_clusters", "label", "cell_type", "new")
ENTRIES = st.dictionaries(
    st.sampled_from([*FIELDS, "resolution", "reason", "date", "author", "foo"]), VALUES, max_size=5
)
NAMES = ("overrides", "merge", "subcluster", "relabel", "skip", "bar")


@given(
    st.dictionaries(st.sampled_from(NAMES), st.lists(ENTRIES, max_size=3) | VALUES, max_size=4),
    st.dictionaries(st.sampled_from(["0", "3", "77"]), VALUES, max_size=2) | st.none(),
)
def test_any_content_is_a_plan_or_faults_with_lines_alike_in_both_forms(content, cells):
    content = content if cells is None else content | {"cells": cells}
    outcomes = []
    for text, name in (
        (json.dumps(content, indent=1), "manual.json"),
        (json.dumps(content, indent=1), "manual.yaml"),
    ):
        try:
            plan, faults = read(text, name), []
        except ConfigError as error:
            plan, faults = None, list(error.faults)
        last = text.count("\n") + 1
        assert [fault for fault in faults if fault.line not in range(1, last + 1)] == []
        outcomes.append((plan, list(map(str, faults))))
    assert outcomes[0] == outcomes[1]


GOOD = {
    "overrides": {"cluster": "", "label": "R"},
    "merge": {"clusters": [], "label": "S"},
    "subcluster": {"cluster": "", "resolution": 0.5},
    "relabel": {"cluster": "", "label": "R / X"},
    "skip": {"cluster": ""},
}
FAULTY = {
    "unknown": lambda entry: entry | {"foo": 1},
    "missing": lambda entry: {},
    "no table": lambda entry: 3,
    "no cluster": lambda entry: (
        entry | ({"clusters": ["77", "0"]} if "clusters" in entry else {"cluster": "77"})
    ),
    "bad day": lambda entry: entry | {"date": "yesterday"},
}


@given(
    st.lists(st.tuples(st.sampled_from(sorted(GOOD)), st.sampled_from(["", *FAULTY]))), st.data()
)
def test_there_is_a_fault_for_each_faulty_entry_and_none_for_the_others(kinds, data):
    free = iter(data.draw(st.permutations(IDS[1:])))
    content: dict[str, list[Any]] = {}
    expected = set()
    for section, fault in kinds[:9]:
        entry = dict(GOOD[section])
        entry |= {"clusters": [next(free), next(free)]} if section == "merge" else {}
        entry |= {"cluster": next(free)} if "cluster" in entry else {}
        entries = content.setdefault(section, [])
        if fault:
            entry = FAULTY[fault](entry)
            expected.add(f"{section}.{len(entries)}")
            if fault == "no cluster":
                entry = json.loads(json.dumps(entry).replace("77", f"x{len(expected)}"))
                entry = json.loads(json.dumps(entry).replace('"0"', f'"y{len(expected)}"'))
        entries.append(entry)
    text = yaml.safe_dump(content, sort_keys=False)
    if not expected:
        plan = read(text)
        assert len(plan.operations) + len(plan.skipped) == min(len(kinds), 9)
        return
    assert {".".join(fault.where.split(".")[:2]) for fault in faults_of(text)} == expected


# ---------------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def annotated(tmp_path_factory) -> Path:
    """Results of a sample of two clusters, "0" and "1"."""
    folder = tmp_path_factory.mktemp("annotated")
    adata = good_sample()
    adata.obs["mine"] = ["0" if i % 3 == 0 else "1" for i in range(adata.n_obs)]
    adata.write_h5ad(folder / "sample.h5ad")
    map_ = {"Epithelium": {"markers": ["Pan-CK"]}, "Immune Cells": {"markers": ["CD45"]}}
    (folder / "map.json").write_text(json.dumps(map_))
    files = (folder / "sample.h5ad", "--marker-map", folder / "map.json", "--out", folder / "out")
    result = ctr("annotate", *files, "--annotation-only", "--cluster-key", "mine")
    assert result.exit_code == 0, words(result)
    return folder / "out" / "coarse_clusters.h5ad"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "plan.yaml",
            """\
overrides:
- {cluster_id: 7, cell_type: T Cells}
merg: []
skip: [{cluster: 1}]
relabel: [{cluster: 1, label: Epithelium}]
""",
            [
                "plan.yaml: 4 faults",
                "line 2, overrides.0: there is no cluster '7'; there are: 0, 1",
                "has no cell type 'T Cells'. It has: Epithelium, Immune Cells. Add new: true",
                "line 3, merg: unknown key 'merg'. Did you mean 'merge'?",
                "line 5, relabel.0: cluster '1' is named twice, first in line 4",
            ],
        ),
        (
            "plan.json",
            """{"refinements": [
{"cluster": "0", "action": "subcluster", "resolution": -1},
{"cluster": "1", "action": "split"}]}""",
            [
                "plan.json: 2 faults",
                "line 2, refinements.0.resolution: is a number above 0; got -1",
                "line 3, refinements.1: unknown action 'split'",
            ],
        ),
        (
            "plan.yaml",
            "skip: [{cluster: 1}]\nskip: [{cluster: 0}]\n",
            ["plan.yaml: 1 fault", "line 2, skip: 'skip' is given twice"],
        ),
        ("plan.yaml", "skip: [\n", ["plan.yaml: 1 fault", "line 2: is not valid YAML"]),
        ("plan.json", "", ["plan.json: 1 fault", "line 1: is not valid JSON"]),
        ("plan.yaml", "[]\n", ["plan.yaml: 1 fault", "line 1: is a table of overrides"]),
        (
            "plan.yaml",
            "overrides: [{cluster: 0, label: Epithelium}]\ncells: {0: , 3: cell_1}\n",
            [
                "plan.yaml: 2 faults",
                "line 2, cells.0: holds no cells",
                "line 2, cells.3: no entry of the file names cluster '3'",
            ],
        ),
    ],
)
def test_the_command_tells_the_faults_and_writes_nothing(name, text, expected, annotated, tmp_path):
    (tmp_path / name).write_text(text)
    before = annotated.read_bytes()
    more = ("--auto", "--until-converged") if len(expected) > 2 else ()
    flags = ("--manual", tmp_path / name, "--execute", *more)
    result = ctr("refine", annotated, "--out", tmp_path / "out", *flags)
    assert result.exit_code == 1
    printed = words(result)
    assert [part for part in expected if part not in printed] == [], printed
    assert "Traceback" not in printed
    assert {path.name for path in tmp_path.iterdir()} == {name}
    assert annotated.read_bytes() == before
