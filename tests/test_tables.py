"""The declared schemas: what they refuse, in which words, and their types on disk."""

import math

import pandas as pd
import pyarrow as arrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_engine.errors import TableError
from ctr_engine.tables import (
    GATES,
    STAGE_H_TABLES,
    STOP_REASONS,
    Clusters,
    DecisionSteps,
    MarkerScores,
    Preflight,
    arrow_schema,
    checked,
    column_names,
    frame,
    from_rows,
    natural_key,
)
from tests.builders import plain
from tests.oracles.run import natural_key as slow_natural_key

ALL = {**STAGE_H_TABLES, "clusters": Clusters, "preflight": Preflight}

KEYS = {
    "clusters": ["cell_id"],
    "reference_values": ["marker"],
    "cluster_statistics": ["cluster_id", "marker"],
    "de_lookup": ["cluster_id", "marker"],
    "marker_scores": ["cluster_id", "path"],
    "marker_evidence": ["cluster_id", "path", "column"],
    "decision_steps": ["cluster_id", "child_path"],
    "gating_details": ["cluster_id", "path", "gate"],
    "cluster_annotations": ["cluster_id"],
    "near_miss_report": ["cluster_id", "other_path"],
    "annotations": ["cell_id"],
    "preflight": ["path"],
}
CHOICES = {
    "statistic": "mean",
    "role": "anti_marker",
    "gate": "root_veto",
    "fail_reason": "low_coverage",
    "stop_reason": "leaf_reached",
    "other_stop_reason": "leaf_reached",
    "cell_type_cell_by": "cluster",
}
BY_KIND = {"string": "text", "double": 0.5, "int64": 1, "bool": True}


def valid(name: str) -> pd.DataFrame:
    """Two rows that differ in their key only."""
    rows = []
    for number in (1, 2):
        row = {}
        for field in arrow_schema(ALL[name]):
            is_list = arrow.types.is_list(field.type)
            row[field.name] = ["A", "B"] if is_list else BY_KIND[str(field.type)]
            if field.name in CHOICES:
                row[field.name] = CHOICES[field.name]
            if field.name in ("de_rank", "n_cells"):
                row[field.name] = type(row[field.name])(1)
        row[KEYS[name][0]] = f"name {number}"
        rows.append(row)
    return from_rows(ALL[name], rows)


def refusal(name: str, table: pd.DataFrame) -> str:
    with pytest.raises(TableError) as caught:
        checked(ALL[name], table)
    message = str(caught.value)
    title = f"The table {ALL[name].__name__} does not have its declared schema:\n"
    assert message.startswith(title)
    return message.removeprefix(title)


@pytest.mark.parametrize("name", ALL)
def test_a_table_that_fits_its_schema_is_handed_back(name):
    table = valid(name)
    assert checked(ALL[name], table) is table


@pytest.mark.parametrize("name", ALL)
def test_a_missing_column_is_named(name):
    for column in column_names(ALL[name]):
        assert repr(column) in refusal(name, valid(name).drop(columns=[column]))


@pytest.mark.parametrize("name", ALL)
def test_a_column_that_nobody_declared_is_named(name):
    assert "'surplus'" in refusal(name, valid(name).assign(surplus=1))


@pytest.mark.parametrize("name", ALL)
def test_columns_in_another_order_are_refused(name):
    first, second, *rest = column_names(ALL[name])
    message = refusal(name, valid(name)[[second, first, *rest]])
    assert repr(first) in message
    assert repr(second) in message


@pytest.mark.parametrize("name", ALL)
def test_a_key_that_stands_twice_is_refused(name):
    table = valid(name)
    table[KEYS[name][0]] = "name 1"
    for field in arrow_schema(ALL[name]):  # whatever is no key may differ
        if str(field.type) in ("double", "int64", "bool"):
            table.loc[1, field.name] = {"double": 1.0, "int64": 2, "bool": False}[str(field.type)]
    message = refusal(name, table)
    assert "uniqueness" in message
    for column in KEYS[name]:
        assert column in message


WRONG = {"string": 7, "double": "x", "int64": 0.5, "bool": 3}


@pytest.mark.parametrize("name", ALL)
def test_a_column_of_another_type_is_named(name):
    for field in arrow_schema(ALL[name]):
        if arrow.types.is_list(field.type):
            continue
        table = valid(name)
        table[field.name] = pd.Series([WRONG[str(field.type)]] * 2)
        assert f"column {field.name}, dtype(" in refusal(name, table)


@pytest.mark.parametrize("name", ALL)
def test_null_is_allowed_only_where_it_is_declared(name):
    for field in arrow_schema(ALL[name]):
        if str(field.type) not in ("string", "double") or field.name in KEYS[name]:
            continue
        table = valid(name)
        null = None if str(field.type) == "string" else math.nan
        table[field.name] = pd.Series([null, table[field.name][1]], dtype=table[field.name].dtype)
        if field.nullable:
            checked(ALL[name], table)
        else:
            assert f"column {field.name}, not_nullable: 1 rows" in refusal(name, table)


RANGES = [
    ("reference_values", "std", 0.0, "greater_than(0)"),
    ("reference_values", "n_cells", 0, "greater_than_or_equal_to(1)"),
    ("reference_values", "tie_sum", -1.0, "greater_than_or_equal_to(0)"),
    ("reference_values", "statistic", "mode", "isin"),
    ("cluster_statistics", "n_cells", 0, "greater_than_or_equal_to(1)"),
    ("cluster_statistics", "positive_fraction", 1.5, "less_than_or_equal_to(1)"),
    ("cluster_statistics", "positive_fraction", -0.5, "greater_than_or_equal_to(0)"),
    ("cluster_statistics", "rank_sum", -1.0, "greater_than_or_equal_to(0)"),
    ("de_lookup", "p_value", 1.5, "less_than_or_equal_to(1)"),
    ("de_lookup", "p_value_adjusted", -0.5, "greater_than_or_equal_to(0)"),
    ("de_lookup", "de_rank", 0.0, "greater_than_or_equal_to(1)"),
    ("de_lookup", "k", -1, "greater_than_or_equal_to(0)"),
    ("de_lookup", "k_target", -1, "greater_than_or_equal_to(0)"),
    ("de_lookup", "n_pos", -1, "greater_than_or_equal_to(0)"),
    ("marker_scores", "level", -1, "greater_than_or_equal_to(0)"),
    ("marker_scores", "coverage", 1.5, "less_than_or_equal_to(1)"),
    ("marker_scores", "mean_positive_fraction", 1.5, "less_than_or_equal_to(1)"),
    ("marker_scores", "frac_markers_on", -0.5, "greater_than_or_equal_to(0)"),
    ("marker_scores", "de_component", -0.5, "greater_than_or_equal_to(0)"),
    ("marker_scores", "anti_penalty", -0.5, "greater_than_or_equal_to(0)"),
    ("marker_scores", "anti_enrichment", -0.5, "greater_than_or_equal_to(0)"),
    ("marker_scores", "anti_positive", 1.5, "less_than_or_equal_to(1)"),
    ("marker_scores", "n_markers_on", -1, "greater_than_or_equal_to(0)"),
    ("marker_evidence", "role", "friend", "isin"),
    ("marker_evidence", "de_bonus", 1.5, "less_than_or_equal_to(1)"),
    ("marker_evidence", "doc_freq", -1, "greater_than_or_equal_to(0)"),
    ("decision_steps", "step_idx", -1, "greater_than_or_equal_to(0)"),
    ("decision_steps", "margin_to_runner_up", -0.5, "greater_than_or_equal_to(0)"),
    ("decision_steps", "fail_reason", "too_late", "isin"),
    ("decision_steps", "child_coverage", 1.5, "less_than_or_equal_to(1)"),
    ("gating_details", "gate", "garden", "isin"),
    ("gating_details", "level", -1, "greater_than_or_equal_to(0)"),
    ("cluster_annotations", "assigned_level", -2, "greater_than_or_equal_to(-1)"),
    ("cluster_annotations", "confidence", -0.5, "greater_than_or_equal_to(0)"),
    ("cluster_annotations", "stop_reason", "bored", "isin"),
    ("cluster_annotations", "agreement", 1.5, "less_than_or_equal_to(1)"),
    ("cluster_annotations", "n_cells", 0, "greater_than_or_equal_to(1)"),
    ("annotations", "cell_type_auto_conf", -0.5, "greater_than_or_equal_to(0)"),
    ("annotations", "cell_type_cell_by", "guess", "isin"),
    ("preflight", "n_markers", 0, "greater_than_or_equal_to(1)"),
    ("preflight", "coverage", 1.5, "less_than_or_equal_to(1)"),
    ("preflight", "min_coverage", -0.5, "greater_than_or_equal_to(0)"),
]


@pytest.mark.parametrize(("name", "column", "value", "check"), RANGES)
def test_a_value_out_of_range_is_named_with_its_column_and_check(name, column, value, check):
    table = valid(name)
    table.loc[1, column] = value
    message = refusal(name, table)
    assert f"column {column}, {check}" in message
    assert f"1 rows, such as {value!r}" in message


def test_all_faults_of_a_table_are_reported_together():
    table = valid("decision_steps")
    table.loc[0, "child_coverage"] = 7.0
    table.loc[1, "fail_reason"] = "too_late"
    message = refusal("decision_steps", table)
    assert len(message.splitlines()) == 2
    assert "such as 7.0" in message
    assert "such as 'too_late'" in message


def test_only_the_first_three_offending_values_are_shown():
    cells = [f"cell {i}" for i in range(5)]
    table = pd.DataFrame({"cell_id": cells, "cluster_id": pd.Series([None] * 5, dtype=object)})
    message = refusal("clusters", table)
    assert "5 rows" in message
    assert message.count("None") + message.count("nan") == 3


# ---------------------------------------------------------------------- making tables


def test_a_frame_has_its_columns_in_the_declared_order():
    table = frame(Clusters, {"cluster_id": ["1"], "cell_id": ["a"]})
    assert table.columns.tolist() == ["cell_id", "cluster_id"]


@pytest.mark.parametrize("name", ALL)
def test_a_table_without_rows_has_the_declared_types(name):
    empty, filled = from_rows(ALL[name], []), valid(name)
    assert empty.columns.tolist() == filled.columns.tolist()
    assert empty.dtypes.tolist() == filled.dtypes.tolist()


def test_stop_reasons_and_gates_are_those_of_the_reference():
    assert set(STOP_REASONS) == {
        "leaf_reached", "no_root_passed", "no_child_passed", "ambiguous_root", "ambiguous_siblings",
    }  # fmt: skip
    assert GATES == (
        "root_hard_requirement", "root_veto", "low_coverage", "low_positive", "low_enrichment",
        "anti_conflict",
    )  # fmt: skip


# ---------------------------------------------------------------------- types on disk


def test_types_on_disk_are_plain_arrow_types_with_a_description_and_a_unit():
    schema = arrow_schema(MarkerScores)
    assert schema.field("resolved_markers").type == arrow.list_(arrow.string())
    assert schema.field("path").type == arrow.string()
    assert schema.field("score").type == arrow.float64()
    assert schema.field("n_cells").type == arrow.int64()
    assert arrow_schema(DecisionSteps).field("selected").type == arrow.bool_()
    assert schema.field("score").nullable
    assert not schema.field("coverage").nullable
    assert schema.field("mean_enrichment").metadata == {
        b"description": b"Mean enrichment of the resolved markers.",
        b"unit": b"SD",
    }


@pytest.mark.parametrize("name", ALL)
def test_every_column_is_described_and_survives_arrow(name):
    schema = arrow_schema(ALL[name])
    assert all(field.metadata[b"description"] for field in schema)
    table = valid(name)
    back = arrow.Table.from_pandas(table, schema=schema, preserve_index=False).to_pandas()
    assert plain(back.to_numpy()) == plain(table.to_numpy())


FIRST_COLUMNS = {
    "marker_scores": "cluster_id label path level score coverage mean_enrichment "
    "mean_positive_fraction frac_markers_on de_component anti_penalty resolved_markers "
    "missing_markers n_cells",
    "decision_steps": "cluster_id step_idx parent_label child_label child_passed_gate child_score "
    "child_coverage child_pos_frac child_enrichment child_anti_penalty selected "
    "margin_to_runner_up fail_reason",
    "cluster_annotations": "cluster_id assigned_label assigned_path assigned_level assigned_score "
    "root_label confidence stop_reason n_cells coverage resolved_markers is_ambiguous_root "
    "composition",
}


@pytest.mark.parametrize("name", FIRST_COLUMNS)
def test_the_columns_of_the_reference_come_first_and_in_its_order(name):
    expected = FIRST_COLUMNS[name].split()
    assert column_names(ALL[name])[: len(expected)] == expected


# ---------------------------------------------------------------------- natural order


def test_ids_are_ordered_by_their_numbers_and_children_follow_their_parent():
    ids = ["10", "3:10", "2", "3", "3:1", "3:2", "30", "a", "3:1:1", "0"]
    assert sorted(ids, key=natural_key) == [
        "0", "2", "3", "3:1", "3:1:1", "3:2", "3:10", "10", "30", "a",
    ]  # fmt: skip


@given(st.lists(st.text("0123a:_ é", max_size=5)))
def test_natural_order_is_that_of_the_slow_oracle(ids):
    assert sorted(ids, key=natural_key) == sorted(ids, key=slow_natural_key)
