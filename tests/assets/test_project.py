"""The project folder, its ``ctr.yaml`` and the partition key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_assets.partitions import parse_key
from ctr_assets.project import load_project, project_at
from ctr_engine.errors import ConfigError, InputError, MarkerMapError, ParameterError


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("liver__S1", ("liver", "S1")),
        ("fallopian-tube__S0001", ("fallopian-tube", "S0001")),
        ("lung__a__b", None),
        ("lung__a_b.c-d", ("lung", "a_b.c-d")),
    ],
)
def test_a_key_is_a_tissue_and_a_sample(key, parts):
    if parts is None:
        with pytest.raises(ParameterError, match="is no partition key"):
            parse_key(key)
    else:
        assert tuple(parse_key(key)) == parts
        assert parse_key(key).key == key


@pytest.mark.parametrize(
    "key",
    [
        "",
        "liver",
        "liver_S1",
        "Liver__S1",
        "liver__",
        "__S1",
        "../x__S1",
        "liver__../../etc",
        "liver__S1/x",
        "liver__.hidden",
        "liver__S1\n",
        "liver-__S1",
        "liver__S 1",
        "li--ver__S1",
        "liver__S..1",
    ],
)
def test_nothing_else_becomes_a_key(key):
    with pytest.raises(ParameterError, match="Write <tissue>__<sample>"):
        parse_key(key)


@given(st.text(alphabet="aZ0_.-/ \n\\", max_size=12), st.text(alphabet="aZ0_.-/ \n\\", max_size=12))
def test_a_key_that_is_accepted_can_never_leave_its_folder(tissue, sample):
    try:
        partition = parse_key(f"{tissue}__{sample}")
    except ParameterError:
        return
    for part in partition:
        assert "/" not in part
        assert "\\" not in part
        assert not part.startswith(".")
        assert part.strip() == part != ""


def test_faults_of_the_configuration_come_with_their_lines(tmp_path):
    liver = "  liver:\n    profile: best\n    clustering: {n_psc: 3}\n"
    (tmp_path / "ctr.yaml").write_text(f"samples_dir: in\ntissues:\n{liver}  Lung: {{}}\n")
    with pytest.raises(ConfigError) as error:
        load_project(tmp_path)
    text = str(error.value)
    assert "3 faults" in text
    assert "line 4, tissues.liver.profile" in text
    assert (
        "line 5, tissues.liver.clustering.n_psc: unknown key 'n_psc'. Did you mean 'n_pcs'?" in text
    )
    assert "line 6, tissues.Lung" in text


def test_a_folder_without_configuration_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("CTR_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=r"there is no ctr.yaml in .*; make a project with: ctr demo"
    ):
        project_at(None)


def test_the_environment_names_the_project(tmp_path, monkeypatch):
    (tmp_path / "ctr.yaml").write_text("")
    monkeypatch.setenv("CTR_PROJECT", str(tmp_path))
    assert project_at(None).root == tmp_path.resolve()


def test_samples_are_found_in_order_of_their_key(tmp_path):
    (tmp_path / "ctr.yaml").write_text("")
    for name in ("lung/B.h5ad", "liver/A.h5ad", "liver/C.zarr"):
        path = tmp_path / "samples" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = [partition.key for partition in load_project(tmp_path).partitions()]
    assert found == ["liver__A", "liver__C", "lung__B"]


def test_a_sample_in_two_formats_is_refused(tmp_path):
    (tmp_path / "ctr.yaml").write_text("")
    (tmp_path / "samples" / "liver").mkdir(parents=True)
    project = load_project(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        project.sample_path(parse_key("liver__A"))
    for suffix in ("h5ad", "zarr"):
        (tmp_path / "samples" / "liver" / f"A.{suffix}").touch()
    with pytest.raises(InputError, match="both exist; keep one"):
        project.sample_path(parse_key("liver__A"))


@pytest.mark.parametrize("suffix", ["json", "yaml", "yml"])
def test_a_map_may_be_json_or_yaml(tmp_path, suffix):
    (tmp_path / "ctr.yaml").write_text("")
    path = tmp_path / "marker_maps" / f"liver.{suffix}"
    path.parent.mkdir()
    path.touch()
    assert load_project(tmp_path).marker_map_path("liver") == path


def test_what_a_tissue_sets_goes_over_the_defaults(tmp_path):
    (tmp_path / "ctr.yaml").write_text(
        "defaults: {profile: adaptive, gating: {min_gap: {1: 0.5}}}\n"
        "tissues: {liver: {gating: {min_gap: {2: 0.4}, max_ambiguity: 2}}}\n"
    )
    params = load_project(tmp_path).params_for(parse_key("liver__S1"))
    assert params.profile == "adaptive"
    assert params.gating.model_dump(exclude_unset=True) == {
        "min_gap": {1: 0.5, 2: 0.4},
        "max_ambiguity": 2,
    }


def test_two_maps_of_one_tissue_are_refused(tmp_path):
    (tmp_path / "ctr.yaml").write_text("")
    (tmp_path / "marker_maps").mkdir()
    for suffix in ("json", "yaml"):
        (tmp_path / "marker_maps" / f"liver.{suffix}").touch()
    with pytest.raises(MarkerMapError, match="more than one map; keep one"):
        load_project(tmp_path).marker_map_path("liver")
