"""Storage on an object store: the same labels as in a folder, and copies that are never stale."""

import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from ctr_assets.partitions import parse_key
from ctr_assets.project import load_project
from ctr_assets.provenance import Records
from ctr_assets.runs import register
from ctr_assets.storage import Storage, storage_at
from ctr_engine.errors import ConfigError, OutputError, ParameterError
from tests.assets.conftest import LIVER_1, Laboratory, make_laboratory


def on(store: str, folder: Path, instance: dg.DagsterInstance) -> Laboratory:
    """A laboratory whose results lie in a store."""
    made = make_laboratory(folder, instance)
    (folder / "ctr.yaml").write_text(f"storage: {store}\n")
    return Laboratory(load_project(folder), made.instance)


@pytest.fixture(params=["memory://laboratory/results", "s3://laboratory/results"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the URL of an empty store; S3 is a server that speaks its protocol, on loopback."""
    address = str(request.param)
    if address.startswith("memory"):
        yield address
        MemoryFileSystem.store.clear()
        return
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer
    from s3fs import S3FileSystem

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    S3FileSystem.clear_instance_cache()
    S3FileSystem().mkdir("laboratory")
    yield address
    S3FileSystem().rm("laboratory", recursive=True)
    S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.mark.slow
def test_a_store_gives_the_versions_and_the_labels_of_a_folder(store, tmp_path):
    folders = [tmp_path / "there", tmp_path / "here"]
    for folder in folders:
        folder.mkdir()
    with dg.DagsterInstance.ephemeral() as one, dg.DagsterInstance.ephemeral() as two:
        there, here = on(store, folders[0], one), make_laboratory(folders[1], two)
        for laboratory in (there, here):
            register(laboratory.instance, [parse_key(LIVER_1)])
            assert laboratory.run(LIVER_1).success
        assert there.versions(LIVER_1) == here.versions(LIVER_1)
        partition = parse_key(LIVER_1)
        labels = [
            pd.read_parquet(lab.project.stored("final_annotations", partition))
            for lab in (there, here)
        ]
        pd.testing.assert_frame_equal(*labels)
        made = Records(one, there.project, partition).made("final_annotations")
        assert not any(step.differs for step in made.walk())
    names = {path.name for path in there.project.storage.iterdir()}
    assert {"annotations", "marker_map_versions", "stage_h_input"} <= names
    assert not (folders[0] / "storage").exists()


def test_an_edited_map_is_kept_in_the_store_under_its_hash(store, tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        laboratory = on(store, tmp_path, instance)
        assert laboratory.run(LIVER_1).success
        hashes = laboratory.event("marker_scores", LIVER_1).metadata["marker_map_hash"].value
        kept = laboratory.project.storage / "marker_map_versions" / "liver"
        assert [path.stem for path in kept.iterdir()] == [hashes]


def storage_in(store: str, folder: Path) -> Storage:
    return storage_at(folder, store)


def test_a_copy_is_fetched_once_and_again_when_the_store_has_another(store, tmp_path, monkeypatch):
    one, other = (storage_in(store, tmp_path / name) for name in ("one", "other"))
    place = one.root / "annotations" / "liver__S1.parquet"
    with one.writing(place) as file:
        file.write_text("first")
    fetched = []
    get_file = place.fs.get_file

    def counted(source: str, target: str) -> None:
        fetched.append(source)
        get_file(source, target)

    monkeypatch.setattr(place.fs, "get_file", counted)
    assert one.local(place).read_text() == "first"
    assert not fetched, "what was just written need not be fetched"
    assert other.local(place).read_text() == other.local(place).read_text() == "first"
    assert len(fetched) == 1
    with one.writing(place) as file:
        file.write_text("second")
    assert other.local(place).read_text() == "second"
    copies = other.cache / "annotations"
    assert [path.read_text() for path in copies.iterdir()] == ["second"], "the old copy is gone"


def test_copies_of_samples_with_like_names_stay(store, tmp_path):
    files = storage_in(store, tmp_path)
    for name in ("liver__S1", "liver__S1.5"):
        with files.writing(files.root / "pca" / f"{name}.npz") as file:
            file.write_text(name)
    for name in ("liver__S1", "liver__S1.5"):
        assert files.local(files.root / "pca" / f"{name}.npz").read_text() == name
    assert len(list((files.cache / "pca").iterdir())) == 2


def test_what_fails_while_it_is_written_leaves_the_old_one(store, tmp_path):
    files = storage_in(store, tmp_path)
    place = files.root / "report" / "liver__S1.html"
    with files.writing(place) as file:
        file.write_text("good")
    with pytest.raises(ZeroDivisionError), files.writing(place) as file:  # noqa: PT012
        file.write_text("half")
        raise ZeroDivisionError
    assert files.local(place).read_text() == "good"
    assert not list(files.cache.glob("tmp*")), "nothing is left behind"


def test_what_is_not_stored_leads_nowhere(store, tmp_path):
    files = storage_in(store, tmp_path)
    assert not files.local(files.root / "pca" / "liver__S1.npz").exists()


def test_a_store_that_refuses_is_an_error_that_names_the_place(tmp_path, monkeypatch):
    files = storage_in("memory://laboratory", tmp_path)
    place = files.root / "pca" / "liver__S1.npz"

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Access Denied")

    monkeypatch.setattr(place.fs, "put_file", refuse)
    text = r"cannot write memory://.*pca/liver__S1\.npz.*Access Denied.*credentials"
    with pytest.raises(OutputError, match=text), files.writing(place) as file:
        file.write_text("new")


@pytest.mark.parametrize("text", ["results", "file://results", "file://{}/results"])
def test_folders_need_no_copies(tmp_path, text):
    files = storage_at(tmp_path, text.format(tmp_path))
    assert files.root == tmp_path / "results"
    place = files.root / "pca" / "liver__S1.npz"
    assert files.local(place) == place
    with files.writing(place) as file:
        assert file == place


@pytest.mark.parametrize("text", ["ftp://laboratory/x", "s3://", "https://example.org/x"])
def test_a_store_that_is_not_known_is_refused_with_the_line(tmp_path, text):
    (tmp_path / "ctr.yaml").write_text(f"samples_dir: samples\nstorage: {text}\n")
    with pytest.raises(ConfigError, match=r"line 2, storage: .*file://, s3://, gs://, az://"):
        load_project(tmp_path)


@pytest.mark.parametrize(("scheme", "module"), [("s3", "s3fs"), ("gs", "gcsfs"), ("az", "adlfs")])
def test_a_driver_that_is_not_installed_says_how_to_get_it(tmp_path, monkeypatch, scheme, module):
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, scheme, raising=False)
    with pytest.raises(ParameterError, match=rf"pip install 'ctr\[{scheme}\]'"):
        storage_at(tmp_path, f"{scheme}://laboratory/results")
