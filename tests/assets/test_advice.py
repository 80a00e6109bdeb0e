"""Checks of the labels that warn and block nothing."""

import json

from tests.assets.conftest import LIVER_1, Laboratory
from tests.assets.test_refinement import check
from tests.bad_inputs import GOOD_MAP


def configure(laboratory: Laboratory, **report: float) -> None:
    content = {"defaults": {"report": report}}
    (laboratory.project.root / "ctr.yaml").write_text(json.dumps(content))


def test_labels_that_are_there_and_supported_are_not_warned_of(annotated):
    found = {
        name: check(annotated, name, "annotations")
        for name in ("few_unassigned", "labels_supported")
    }
    assert [one.passed for one in found.values()] == [True, True]
    assert [one.description for one in found.values()] == [None, None]


def test_many_cells_without_a_label_are_told_and_the_run_goes_on(laboratory):
    rules = {"root_hard_requirements": {"Immune Cells": {"marker": "DAPI", "min_pos_frac": 0.1}}}
    content = json.dumps({"_gating_params": rules, **json.loads(GOOD_MAP)})
    laboratory.map_file("liver").write_text(content)
    assert laboratory.run(LIVER_1).success
    found = check(laboratory, "few_unassigned", "annotations")
    assert not found.passed
    assert found.severity.value == "WARN"
    assert found.description == "80 of 120 cells are Unassigned; ctr explain says why"


def test_labels_with_less_support_than_asked_for_are_named(laboratory):
    configure(laboratory, review_support=1.0)
    assert laboratory.run(LIVER_1).success
    found = check(laboratory, "labels_supported", "annotations")
    names = str(found.description).split("; ")
    assert names == sorted(names, key=lambda text: float(text.rpartition(" ")[2]))
    assert all(text.startswith("cluster ") and ": support 0." in text for text in names)
    configure(laboratory, review_support=0.0)
    assert laboratory.run(LIVER_1).success
    assert check(laboratory, "labels_supported", "annotations").passed
