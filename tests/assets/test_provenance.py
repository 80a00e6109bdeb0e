"""``ctr lineage``: the whole chain behind an asset, and whether it could be made again."""

import pytest

from ctr_assets.commands import show_lineage
from ctr_assets.partitions import parse_key
from ctr_assets.project import load_project
from ctr_assets.provenance import Made, Records, UnknownAssetError, as_prov, as_tree
from ctr_assets.runs import project_instance, register, run_job
from ctr_engine.errors import ParameterError
from tests.assets.conftest import LIVER_1, LIVER_2, Laboratory
from tests.assets.test_sensors import EDITED

FINAL = "final_annotations"


def made(laboratory: Laboratory, asset: str = FINAL, key: str = LIVER_1) -> Made:
    project = load_project(laboratory.project.root)
    return Records(laboratory.instance, project, parse_key(key)).made(asset)


def differing(found: Made) -> dict[str, tuple[str, ...]]:
    return {one.asset: one.differs for one in found.walk() if one.differs}


def test_everything_behind_the_labels_is_there_with_its_version(annotated):
    found = {one.asset: one for one in made(annotated).walk()}
    graph = {
        "sample", "marker_map", "manual_plan", "stage_h_input", "pca", "knn_graph",
        "leiden_clusters", "reference_values", "cluster_statistics", "de_lookup", "marker_scores",
        "marker_evidence", "decision_steps", "cluster_annotations", "annotations",
        "refinement_iteration_1", "refinement_iteration_2", "refinement_iteration_3", FINAL,
    }  # fmt: skip
    assert set(found) == graph
    versions = annotated.versions(LIVER_1)
    for name, one in found.items():
        if name in versions:
            assert one.version == versions[name]
            assert one.run_id
            assert one.file_sha256
    assert differing(made(annotated)) == {}


def test_the_tree_says_everything_once(annotated):
    lines = as_tree(made(annotated))
    assert lines[0].startswith(FINAL)
    told = [line for line in lines if line.strip().startswith("pca ")]
    assert len([line for line in told if "(above)" not in line]) == 1
    assert any(line.startswith("    cluster_annotations") for line in lines)


def test_the_document_names_what_it_defines(annotated):
    document = as_prov(made(annotated))
    entities, activities = set(document["entity"]), set(document["activity"])
    for one in document["used"].values():
        assert one["prov:entity"] in entities
        assert one["prov:activity"] in activities
    for one in document["wasDerivedFrom"].values():
        assert {one["prov:generatedEntity"], one["prov:usedEntity"]} <= entities
    generated = {one["prov:entity"] for one in document["wasGeneratedBy"].values()}
    given = {f"ctr:{name}" for name in ("sample", "marker_map", "manual_plan")}
    assert {name.split("/")[0] for name in entities - generated} == given


def test_what_differs_now_is_told_where_it_differs(laboratory):
    assert laboratory.run(LIVER_1).success
    laboratory.map_file("liver").write_text(EDITED)
    (laboratory.project.root / "ctr.yaml").write_text(
        "defaults: {clustering: {n_pcs: 3}, report: {mixed_neighbors: 3}}\n"
    )
    stored = laboratory.stored("annotations", LIVER_1)
    stored.write_bytes(stored.read_bytes() + b" ")
    laboratory.stored("de_lookup", LIVER_1).unlink()
    found = differing(made(laboratory))
    assert found["pca"] == ("ctr.yaml has another n_pcs now",)
    assert found["cluster_annotations"] == ("ctr.yaml has another mixed_neighbors now",)
    assert found["annotations"] == ("its file was changed since",)
    assert found["de_lookup"] == ("its file is gone",)
    (text,) = found["marker_map"]
    assert text.startswith("it is ")
    assert set(found) <= {
        "pca", "annotations", "cluster_annotations", "de_lookup", "marker_map",
        "refinement_iteration_1", "refinement_iteration_2",
    }  # fmt: skip


def test_an_input_that_was_made_again_is_told(laboratory):
    assert laboratory.run(LIVER_1).success
    laboratory.map_file("liver").write_text(EDITED)
    assert laboratory.run(LIVER_1, "reannotate_from_scores").success
    assert differing(made(laboratory)) == {}
    found = differing(made(laboratory, "coarse_clusters"))
    assert found == {"coarse_clusters": ("annotations was made again since",)}


def test_what_was_never_made_is_an_error_with_the_next_command(laboratory):
    with pytest.raises(UnknownAssetError, match="never made; run: ctr run liver__S2"):
        made(laboratory, key=LIVER_2)


def test_the_command_says_whether_it_could_be_made_again(laboratory, capsys):
    project, partition = laboratory.project, parse_key(LIVER_1)
    with project_instance(project) as instance:
        register(instance, [partition])
        assert run_job(instance, project, partition, "annotate_partition").success
    show_lineage(project.root, LIVER_1, FINAL, as_json=False)
    assert capsys.readouterr().out.splitlines()[-1].startswith("It could be reproduced now")
    laboratory.map_file("liver").write_text(EDITED)
    show_lineage(project.root, LIVER_1, FINAL, as_json=False)
    assert "It could not be reproduced now" in capsys.readouterr().out
    show_lineage(project.root, LIVER_1, FINAL, as_json=True)
    assert '"wasDerivedFrom"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("final_annotation", "Did you mean 'final_annotations'"),
        ("sample", "no step of the graph makes 'sample'"),
        ("zzzz", "There are: annotations, cluster_annotations"),
    ],
)
def test_a_name_that_no_asset_has_is_told_with_those_there_are(laboratory, name, words):
    with pytest.raises(ParameterError, match=words):
        show_lineage(laboratory.project.root, LIVER_1, name, as_json=False)


def test_a_package_of_another_release_is_told(annotated, monkeypatch):
    from importlib.metadata import version

    from ctr_assets import provenance

    packages = made(annotated, "pca").packages
    assert packages is not None
    assert packages["scipy"] == version("scipy")
    document = as_prov(made(annotated, "pca"))
    assert all(one["ctr:packages"] == packages for one in document["activity"].values())
    without = {name: release for name, release in packages.items() if name != "igraph"}
    monkeypatch.setattr(provenance, "versions", lambda: without | {"scipy": "0.1"})
    told = differing(made(annotated, "stage_h_input"))["stage_h_input"]
    assert f"made with scipy {version('scipy')}, this is 0.1" in told
    assert f"made with igraph {version('igraph')}, which is not used now" in told
    assert len(told) == 2
