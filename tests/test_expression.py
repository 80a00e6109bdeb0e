"""Which values of a sample are used, and which samples are refused."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ctr_engine.errors import InputError
from ctr_engine.expression import ExpressionParams, column_std, read_expression
from tests.builders import expression, sample

ROWS = [[0.0, 1.0], [1.0, 0.0], [3.0, 2.0]]
PANEL = ["CD3", "CD8"]
SPARSE = (sp.csr_matrix, sp.csc_matrix, sp.csr_array, sp.csc_array)


def read(adata, **params):
    return read_expression(adata, ExpressionParams(**params), "slide 7")


def dense(view):
    return np.column_stack([view.column(j) for j in range(view.n_markers)])


def fault(adata, **params) -> str:
    with pytest.raises(InputError) as caught:
        read(adata, **params)
    return str(caught.value)


# ---------------------------------------------------------------------- layers


def layered(*names):
    layers = {name: np.add(ROWS, 10 * (i + 1)) for i, name in enumerate(names)}
    return sample(ROWS, PANEL, **layers)


@pytest.mark.parametrize(
    ("names", "chosen", "first"),
    [
        (("other", "aligned", "batchcorr"), "batchcorr", 30),
        (("other", "aligned"), "aligned", 20),
        (("other",), "X", 0),
    ],
)
def test_auto_takes_batchcorr_then_aligned_then_x(names, chosen, first):
    view = read(layered(*names))
    assert view.layer == chosen
    assert view.column(0).tolist() == [first, first + 1, first + 3]


def test_a_layer_can_be_named_and_so_can_x():
    assert read(layered("batchcorr", "raw"), layer="raw").column(0).tolist() == [20, 21, 23]
    assert read(layered("batchcorr", "raw"), layer="X").column(0).tolist() == [0, 1, 3]


def test_an_unknown_layer_is_an_error_that_lists_those_that_exist():
    message = fault(layered("aligned", "raw"), layer="batchcorr")
    assert message.startswith(
        "slide 7: 1 fault\n  there is no layer 'batchcorr'; the layers are 'aligned', 'raw', "
    )
    assert message.endswith("'X'. Name one with --layer.")


def test_a_sample_without_any_values_says_so():
    adata = sample(ROWS, PANEL)
    adata.X = None
    assert "there is no layer 'auto'; the layers are none" in fault(adata)


def test_auto_finds_the_layer_of_a_sample_without_x():
    adata = layered("aligned")
    adata.X = None
    assert read(adata).layer == "aligned"


# ---------------------------------------------------------------------- shape and names


def test_two_cells_are_refused_and_three_are_not():
    assert "2 cells; at least 3 are needed" in fault(sample(ROWS[:2], PANEL))
    assert read(sample(ROWS, PANEL)).n_cells == 3


@pytest.mark.filterwarnings("ignore:.*not unique:UserWarning")
def test_duplicate_cells_and_markers_are_reported_together():
    adata = sample(np.arange(12.0).reshape(4, 3), ["CD3", "CD8", "CD3"])
    adata.obs_names = ["a", "b", "a", "a"]
    assert fault(adata) == (
        "slide 7: 2 faults\n"
        "  1 names stand more than once in obs_names: 'a'. Rename them, or call "
        "adata.obs_names_make_unique().\n"
        "  1 names stand more than once in var_names: 'CD3'. Rename them, or call "
        "adata.var_names_make_unique()."
    )


# ---------------------------------------------------------------------- values


@pytest.mark.parametrize("kind", [np.asarray, *SPARSE])
def test_missing_and_infinite_values_are_named_and_counted_by_marker(kind):
    rows = np.array([[1, np.nan, 0, 1], [2, np.inf, -np.inf, 0], [0, 0, 3, 1], [1, np.nan, 1, 0]])
    message = fault(sample(kind(rows), ["CD3", "CD8", "CD4", "CD19"]))
    assert (
        "the layer 'X' holds NaN or infinite values in 2 markers: CD8 (3 cells), CD4 (1 cells). "
        "Drop these cells or markers, or fill the values."
    ) in message


def test_only_the_first_ten_markers_with_bad_values_are_listed():
    rows = np.full((3, 12), np.nan)
    message = fault(sample(rows, [f"M{i}" for i in range(12)]))
    assert "in 12 markers: M0 (3 cells), " in message
    assert "M9 (3 cells) and 2 more. " in message


@pytest.mark.parametrize("kind", [np.asarray, *SPARSE])
def test_a_value_too_large_for_float32_is_infinite_and_refused(kind):
    rows = np.array([[1e300, 0], [0, 1], [1, 0]])
    assert "in 1 markers: CD3 (1 cells)" in fault(sample(kind(rows), PANEL))


def test_a_layer_that_holds_no_numbers_is_refused():
    rows = np.array([["1", "2"], ["3", "4"], ["5", "6"]], dtype=object)
    adata = sample(ROWS, PANEL, aligned=rows)
    assert "the layer 'aligned' holds object, not numbers" in fault(adata)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float64", "float32", "bool"])
@pytest.mark.parametrize("kind", [np.asarray, *SPARSE])
def test_numbers_of_any_kind_become_the_same_float32(dtype, kind):
    rows = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)
    view = read(sample(kind(rows), PANEL))
    assert dense(view).tolist() == [[0, 1], [1, 0], [1, 1]]
    assert view.values.dtype == np.float32
    assert view.is_sparse == (kind is not np.asarray)


def test_a_sparse_sample_stays_sparse_and_blocks_of_it_are_dense():
    rows = np.array([[0, 1, 5], [1, 0, 6], [3, 2, 7]])
    for kind in (np.asarray, *SPARSE):
        view = read(sample(kind(rows), ["a", "b", "c"]))
        assert view.block(np.array([2, 0]), [2, 0]).tolist() == [[7, 3], [5, 0]]


def test_the_sample_is_not_changed():
    shuffled = sp.csc_matrix(
        (np.array([5.0, 1, 2], dtype=np.float32), np.array([2, 0, 1]), np.array([0, 2, 3])),
        shape=(3, 2),
    )
    adata = sample(shuffled, PANEL)
    before = adata.X.toarray().copy()
    read(adata, normalize="arcsinh")
    assert np.array_equal(adata.X.toarray(), before)


def test_stored_values_of_one_place_are_added_up():
    twice = sp.csr_matrix(
        (np.array([1.0, 2, 1, 4]), np.array([0, 0, 1, 0]), np.array([0, 2, 3, 4])), shape=(3, 2)
    )
    assert dense(read(sample(twice, PANEL))).tolist() == [[3, 0], [0, 1], [4, 0]]


# ---------------------------------------------------------------------- raw counts


COUNTS = np.array([[31, 0], [2, 1], [0, 5]])


@pytest.mark.parametrize("kind", [np.asarray, *SPARSE])
def test_whole_numbers_above_thirty_look_like_raw_counts(kind):
    (warning,) = read(sample(kind(COUNTS), PANEL)).warnings
    assert warning == (
        "The layer 'X' looks like raw counts (whole numbers up to 31). "
        'Set normalize="log1p_cp10k" for RNA, or normalize="arcsinh" for CyTOF.'
    )


@pytest.mark.parametrize(
    "rows", [COUNTS - [[1, 0], [0, 0], [0, 0]], COUNTS + 0.5, COUNTS - [[0, 1], [0, 0], [0, 0]]]
)
def test_other_values_do_not_look_like_raw_counts(rows):
    assert read(sample(rows, PANEL)).warnings == ()


def test_normalised_counts_are_not_warned_about():
    assert read(sample(COUNTS, PANEL), normalize="arcsinh").warnings == ()


# ---------------------------------------------------------------------- transformations


@pytest.mark.parametrize("kind", [np.asarray, *SPARSE])
def test_log1p_cp10k_is_the_log_of_counts_per_ten_thousand(kind):
    view = read(sample(kind(np.array([[1, 3], [0, 0], [2, 0]])), PANEL), normalize="log1p_cp10k")
    expected = [
        [math.log(1 + 2_500), math.log(1 + 7_500)],
        [0, 0],
        [math.log(1 + 10_000), 0],
    ]
    assert dense(view) == pytest.approx(np.array(expected), rel=1e-6)
    assert view.values.dtype == np.float32


@pytest.mark.parametrize("kind", [np.asarray, *SPARSE])
def test_counts_per_ten_thousand_leave_technical_markers_out(kind):
    rows = np.array([[1, 3, 500], [2, 1, 7], [2, 0, 1]])
    view = read(sample(kind(rows), [*PANEL, "DAPI"]), normalize="log1p_cp10k")
    assert dense(view)[0] == pytest.approx([math.log(2_501), math.log(7_501)], rel=1e-6)


@pytest.mark.parametrize("kind", [np.asarray, *SPARSE])
def test_arcsinh_divides_by_the_cofactor_first(kind):
    rows = kind(np.array([[5.0, -10.0], [0, 1], [3, 0]]))
    by_default = dense(read(sample(rows, PANEL), normalize="arcsinh"))
    assert by_default[0] == pytest.approx([math.asinh(1), math.asinh(-2)], rel=1e-6)
    by_ten = dense(read(sample(rows, PANEL), normalize="arcsinh", arcsinh_cofactor=10.0))
    assert by_ten[0] == pytest.approx([math.asinh(0.5), math.asinh(-1)], rel=1e-6)


@pytest.mark.parametrize("kind", [np.asarray, *SPARSE])
def test_counts_per_ten_thousand_of_negative_values_are_refused(kind):
    message = fault(
        sample(kind(np.array([[1, -3], [0, 1], [2, 0]])), PANEL), normalize="log1p_cp10k"
    )
    assert (
        "normalize='log1p_cp10k' needs counts, but there are negative values. Choose another "
        "layer, or normalize='none'."
    ) in message


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"normalize": "log"}, "'none', 'log1p_cp10k' or 'arcsinh'"),
        ({"arcsinh_cofactor": 0.0}, "greater than 0"),
        ({"arcsinh_cofactor": "5"}, "valid number"),
        ({"layers": "X"}, "Extra inputs are not permitted"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(params, message):
    with pytest.raises(ValidationError, match=message):
        ExpressionParams(**params)


# ---------------------------------------------------------------------- technical markers


def technical_sample(names, kind=np.asarray, **rows):
    values = np.array([[0, 1, 9, 8, 7], [1, 0, 9, 8, 7], [3, 2, 9, 8, 6.0]])
    return sample(kind(values), [*PANEL, *names])


@pytest.mark.parametrize("kind", [np.asarray, *SPARSE])
@pytest.mark.parametrize(
    "names",
    [
        ("DAPI", "Collagen IV", "Beta-actin"),
        ("dapi", "collagen_iv", "BETA ACTIN"),
        ("Dapi", "COL4A1", "ACTB"),
    ],
)
def test_technical_markers_become_obs_columns_named_after_them(names, kind):
    view = read(technical_sample(names, kind))
    assert view.panel.markers == ("CD3", "CD8")
    assert view.panel.technical == names
    assert view.technical.to_dict("list") == {
        "DAPI_intensity": [9, 9, 9],
        "Collagen_IV_intensity": [8, 8, 8],
        "Beta_actin_intensity": [7, 7, 6],
    }
    assert view.technical.index.tolist() == ["cell_0", "cell_1", "cell_2"]


def test_technical_intensities_are_not_transformed():
    view = read(technical_sample(("DAPI", "x", "y")), normalize="arcsinh")
    assert view.technical["DAPI_intensity"].tolist() == [9, 9, 9]


def test_other_markers_can_be_technical():
    view = read(technical_sample(("DAPI", "A+B", "y")), technical_markers=("A+B", "Histone H3"))
    assert view.panel.technical == ("A+B",)
    assert view.panel.dropped == ("DAPI",)
    assert view.technical.columns.tolist() == ["A_B_intensity"]


def test_a_sample_without_technical_markers_has_no_such_columns():
    view = read(sample(ROWS, PANEL))
    assert view.panel.technical == ()
    assert view.technical.shape == (3, 0)


def test_an_obs_column_of_the_same_name_is_not_overwritten():
    adata = technical_sample(("DAPI", "x", "ACTB"))
    adata.obs["DAPI_intensity"] = 1.0
    adata.obs["Beta_actin_intensity"] = 1.0
    message = fault(adata)
    assert message.startswith("slide 7: 2 faults")
    assert "obs already has the column 'DAPI_intensity'; rename it" in message
    assert "obs already has the column 'Beta_actin_intensity'; rename it" in message


def test_two_technical_names_of_one_column_are_refused():
    adata = technical_sample(("DAPI", "x", "ACTB"))
    message = fault(adata, technical_markers=("Beta-actin", "ACTB"))
    assert "two technical markers are one column: Beta-actin, ACTB" in message


def test_a_technical_name_that_fits_two_columns_is_refused():
    adata = technical_sample(("DAPI", "beta actin", "Beta_Actin"))
    with pytest.raises(InputError, match="'Beta-actin' fits 'beta actin' and 'Beta_Actin'"):
        read(adata)


# ---------------------------------------------------------------------- constant markers


@pytest.mark.parametrize("kind", [np.asarray, *SPARSE])
def test_markers_that_do_not_vary_are_dropped(kind):
    rows = np.array([[4, 0, 0, 1], [4, 1, 0, 2], [4, 3, 0, 5.0]])
    view = read(sample(kind(rows), ["flat", "CD3", "zero", "CD8"]))
    assert view.panel.markers == ("CD3", "CD8")
    assert view.panel.dropped == ("flat", "zero")
    assert dense(view).tolist() == [[0, 1], [1, 2], [3, 5]]


@pytest.mark.parametrize("kind", [np.asarray, *SPARSE])
def test_the_least_spread_is_a_population_standard_deviation_of_a_thousandth(kind):
    half = np.repeat([0, 1], 50)[:, None]
    rows = np.hstack([half * 0.00202, half * 0.00198, half, half * 2 + 5])
    view = read(sample(kind(rows), ["above", "below", "CD3", "CD8"]))  # SD 0.00101 and 0.00099
    assert view.panel.dropped == ("below",)


def test_the_spread_is_that_of_the_transformed_values():
    rows = np.array([[0.0, 1.0, 0.002], [1, 0, 0], [3, 2, 0.009]])
    assert read(sample(rows, [*PANEL, "weak"])).panel.dropped == ()
    assert read(sample(rows, [*PANEL, "weak"]), normalize="arcsinh").panel.dropped == ("weak",)


def test_fewer_than_two_usable_markers_are_refused():
    rows = [[1, 5, 2.0], [2, 5, 2.0], [3, 5, 4.0]]
    assert (
        "1 usable markers are left of 3 (2 are technical or do not vary); at least 2 are needed. "
        "Check the layer 'X'."
    ) in fault(sample(rows, ["CD3", "flat", "DAPI"]))


@given(
    st.lists(
        st.tuples(*[st.sampled_from([0.0, 0.0, 1.0, -2.5, 7.25])] * 3), min_size=3, max_size=12
    )
)
def test_column_spread_of_dense_and_sparse_values_is_numpys(rows):
    values = np.array(rows, dtype=np.float32)
    expected = values.astype(np.float64).std(axis=0)
    assert column_std(values) == pytest.approx(expected, abs=1e-12)
    assert column_std(sp.csc_matrix(values)) == pytest.approx(expected, abs=1e-12)


def test_a_view_knows_its_size():
    view = expression([[0, 1], [1, 0], [2, 2], [0, 0]], PANEL)
    assert (view.n_cells, view.n_markers, view.is_sparse) == (4, 2, False)


def test_technical_markers_that_would_share_an_obs_column_are_refused():
    adata = technical_sample(("DAPI", "A+", "A*"))
    with pytest.raises(InputError, match=r"would share an obs column: 'A\+', 'A\*'; drop one"):
        read(adata, technical_markers=("A+", "A*"))
