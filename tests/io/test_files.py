"""Tables, samples and the stored expression come back as they went."""

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from ctr_engine.errors import InputError, MarkerMapError, TableError
from ctr_engine.expression import ExpressionParams, read_expression
from ctr_engine.io.expression import ExpressionFile, write_expression
from ctr_engine.io.samples import read_marker_map, read_sample, sha256_of
from ctr_engine.io.tables import read_parquet, write_csv, write_parquet
from ctr_engine.tables import Clusters, GatingDetails, Preflight, from_rows
from tests.bad_inputs import GOOD_MAP, good_sample


def preflight(**changes) -> pd.DataFrame:
    row = {
        "path": "A", "level": 0, "n_markers": 2, "coverage": 0.5, "min_coverage": 0.5,
        "reachable": True, "obstacle": None, "resolved": ["x = X"], "missing": ["y", "z"],
        "technical": [], "dropped": [], "suggestions": [], "anti_missing": [],
    }  # fmt: skip
    return from_rows(Preflight, [{**row, **changes}])


@pytest.mark.smoke
def test_a_table_with_lists_and_nulls_comes_back_from_parquet(tmp_path):
    table = preflight()
    write_parquet(Preflight, table, tmp_path / "t.parquet")
    back = read_parquet(Preflight, tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(back, table)
    assert back["missing"].iloc[0] == ["y", "z"]


def test_an_empty_table_keeps_its_types(tmp_path):
    table = from_rows(GatingDetails, [])
    write_parquet(GatingDetails, table, tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read_parquet(GatingDetails, tmp_path / "t.parquet"), table)


def test_lists_are_joined_in_csv_and_null_is_empty(tmp_path):
    write_csv(Preflight, preflight(), tmp_path / "t.csv")
    header, row = (tmp_path / "t.csv").read_text().strip().split("\n")
    assert header.startswith("path,level,n_markers,coverage")
    assert row == "A,0,2,0.5,0.5,True,,x = X,y;z,,,,"


def test_a_bad_table_is_not_written(tmp_path):
    bad = preflight().assign(coverage=1.5)
    for write, name in ((write_parquet, "t.parquet"), (write_csv, "t.csv")):
        with pytest.raises(TableError, match="coverage"):
            write(Preflight, bad, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_another_table_and_a_broken_file_are_refused_on_reading(tmp_path):
    write_parquet(Preflight, preflight(), tmp_path / "t.parquet")
    with pytest.raises(TableError, match="is not a Clusters table of this version"):
        read_parquet(Clusters, tmp_path / "t.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(TableError, match=r"cannot be read as parquet.*Materialize it again"):
        read_parquet(Clusters, tmp_path / "b.parquet")


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_expression_comes_back_as_it_was(tmp_path, kind):
    adata = good_sample()
    adata.X[:, 1] = 2.0
    adata.X = kind(adata.X)
    view = read_expression(adata, ExpressionParams())
    write_expression(view, tmp_path / "e.h5ad")
    file = ExpressionFile(tmp_path / "e.h5ad")
    back = file.read()
    assert back.is_sparse == view.is_sparse
    every = range(view.n_markers)
    np.testing.assert_array_equal(back.block(slice(None), every), view.block(slice(None), every))
    assert back.panel == view.panel == file.panel()
    assert view.panel.dropped == ("E-cadherin",)
    assert file.cell_ids() == back.cell_ids.tolist() == adata.obs_names.tolist()
    pd.testing.assert_frame_equal(back.technical, view.technical, check_index_type=False)


def test_a_zarr_sample_is_read(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # which version of the format it writes
        good_sample().write_zarr(tmp_path / "s.zarr")
    assert read_sample(tmp_path / "s.zarr").shape == (120, 6)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("s.csv", b"a,b\n", "is neither .h5ad nor .zarr"),
        ("s.h5ad", b"\x89HDF\r\n\x1a\nbroken", "is not an AnnData file"),
        ("s.h5ad", b"", "is not an AnnData file"),
    ],
)
def test_what_is_no_sample_is_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_sample(tmp_path / name)


def test_an_hdf5_file_without_anndata_in_it_is_refused(tmp_path):
    import h5py

    with h5py.File(tmp_path / "s.h5ad", "w") as file:
        file["weights"] = np.zeros(3)
    with pytest.raises(
        InputError, match=r"is not an AnnData file \(it is HDF5, but has no obs and no var\)"
    ):
        read_sample(tmp_path / "s.h5ad")


def test_a_missing_folder_is_said_to_be_missing(tmp_path):
    with pytest.raises(InputError, match=r"there is no such file\. The folder .* does not exist"):
        read_sample(tmp_path / "no" / "s.h5ad")


def test_a_map_may_start_with_a_byte_order_mark_and_must_be_utf8(tmp_path):
    (tmp_path / "m.json").write_bytes(b"\xef\xbb\xbf" + GOOD_MAP.encode())
    assert len(read_marker_map(tmp_path / "m.json").nodes) == 4
    (tmp_path / "m.json").write_bytes(
        GOOD_MAP.replace("Epithelium", "Épithélium").encode("latin-1")
    )
    with pytest.raises(MarkerMapError, match="is not UTF-8 text"):
        read_marker_map(tmp_path / "m.json")
    with pytest.raises(MarkerMapError, match=r"there is no such file. .* has: m.json"):
        read_marker_map(tmp_path / "other.json")


def test_the_hash_of_a_folder_sees_content_and_names(tmp_path):
    hashes = set()
    for name, content in (("a", b"1"), ("b", b"1"), ("a", b"2")):
        folder = tmp_path / f"{name}{content.decode()}"
        folder.mkdir()
        (folder / name).write_bytes(content)
        hashes.add(sha256_of(folder))
    assert len(hashes) == 3
    import hashlib

    assert sha256_of(tmp_path / "a1" / "a") == hashlib.sha256(b"1").hexdigest()


def test_a_written_sample_is_plain_anndata(tmp_path):
    view = read_expression(good_sample(), ExpressionParams())
    write_expression(view, tmp_path / "e.h5ad")
    assert anndata.read_h5ad(tmp_path / "e.h5ad").n_vars == 5


def test_a_zarr_with_pickled_objects_is_refused_before_it_is_decoded(tmp_path):
    folder = tmp_path / "s.zarr" / "obs" / "x"
    folder.mkdir(parents=True)
    (folder / ".zarray").write_text('{"filters": [{"id": "pickle"}]}')
    with pytest.raises(InputError, match="holds pickled objects, which are never read"):
        read_sample(tmp_path / "s.zarr")


def test_an_unknown_encoding_is_not_a_traceback(tmp_path):
    import h5py

    good_sample().write_h5ad(tmp_path / "s.h5ad")
    with h5py.File(tmp_path / "s.h5ad", "a") as file:
        file["X"].attrs["encoding-type"] = "hologram"
    with pytest.raises(InputError, match="is not an AnnData file"):
        read_sample(tmp_path / "s.h5ad")
