"""The maps that come with the package: well formed, sourced, and able to name pure cells."""

import json
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from ctr_engine.analysis import AnalysisParams, annotate
from ctr_engine.errors import ParameterError
from ctr_engine.keys import PATH_SEPARATOR
from ctr_engine.markers.aliases import builtin_aliases, normalise
from ctr_engine.markers.builtin_maps import builtin_map_text, builtin_name, builtin_tissues
from ctr_engine.markers.panel import Panel, resolve_map
from ctr_engine.markers.parse import ONTOLOGY_ID, parse_marker_map
from ctr_engine.markers.preflight import preflight
from tests.builders import expression

TISSUES = (
    "blood",
    "codex-immune",
    "fallopian-tube",
    "lung",
    "tumour-microenvironment",
    "uterus",
)
CITATION = re.compile(r"[A-ZÖ][\w-]+( et al\.| and [A-Z]\w+)? [A-Z][\w ]+ (19|20)\d\d;\d+:\w+")
CELL_ONTOLOGY = {
    "CL:0000057": "fibroblast",
    "CL:0000066": "epithelial cell",
    "CL:0000071": "blood vessel endothelial cell",
    "CL:0000077": "mesothelial cell",
    "CL:0000082": "epithelial cell of lung",
    "CL:0000084": "T cell",
    "CL:0000097": "mast cell",
    "CL:0000113": "mononuclear phagocyte",
    "CL:0000115": "endothelial cell",
    "CL:0000158": "club cell",
    "CL:0000186": "myofibroblast cell",
    "CL:0000192": "smooth muscle cell",
    "CL:0000232": "erythrocyte",
    "CL:0000233": "platelet",
    "CL:0000235": "macrophage",
    "CL:0000236": "B cell",
    "CL:0000442": "follicular dendritic cell",
    "CL:0000576": "monocyte",
    "CL:0000583": "alveolar macrophage",
    "CL:0000623": "natural killer cell",
    "CL:0000624": "CD4-positive, alpha-beta T cell",
    "CL:0000625": "CD8-positive, alpha-beta T cell",
    "CL:0000669": "pericyte",
    "CL:0000704": "endothelial tip cell",
    "CL:0000738": "leukocyte",
    "CL:0000767": "basophil",
    "CL:0000771": "eosinophil",
    "CL:0000775": "neutrophil",
    "CL:0000784": "plasmacytoid dendritic cell",
    "CL:0000786": "plasma cell",
    "CL:0000787": "memory B cell",
    "CL:0000788": "naive B cell",
    "CL:0000792": "CD4-positive, CD25-positive, alpha-beta regulatory T cell",
    "CL:0000794": "CD8-positive, alpha-beta cytotoxic T cell",
    "CL:0000798": "gamma-delta T cell",
    "CL:0000841": "mature conventional dendritic cell",
    "CL:0000843": "follicular B cell",
    "CL:0000844": "germinal center B cell",
    "CL:0000860": "classical monocyte",
    "CL:0000863": "inflammatory macrophage",
    "CL:0000875": "non-classical monocyte",
    "CL:0000890": "alternatively activated macrophage",
    "CL:0000895": "naive thymus-derived CD4-positive, alpha-beta T cell",
    "CL:0000897": "CD4-positive, alpha-beta memory T cell",
    "CL:0000900": "naive thymus-derived CD8-positive, alpha-beta T cell",
    "CL:0000909": "CD8-positive, alpha-beta memory T cell",
    "CL:0000913": "effector memory CD8-positive, alpha-beta T cell",
    "CL:0000938": "CD16-negative, CD56-bright natural killer cell, human",
    "CL:0000939": "CD16-positive, CD56-dim natural killer cell, human",
    "CL:0000940": "mucosal invariant T cell",
    "CL:0000945": "lymphocyte of B lineage",
    "CL:0000980": "plasmablast",
    "CL:0000990": "conventional dendritic cell",
    "CL:0001064": "malignant cell",
    "CL:0002038": "T follicular helper cell",
    "CL:0002062": "pulmonary alveolar type 1 cell",
    "CL:0002063": "pulmonary alveolar type 2 cell",
    "CL:0002138": "endothelial cell of lymphatic vessel",
    "CL:0002149": "epithelial cell of uterus",
    "CL:0002202": "epithelial cell of tracheobronchial tree",
    "CL:0002255": "stromal cell of endometrium",
    "CL:0002394": "CD141-positive myeloid dendritic cell",
    "CL:0002399": "CD1c-positive myeloid dendritic cell",
    "CL:0002543": "vein endothelial cell",
    "CL:0002553": "fibroblast of lung",
    "CL:0002601": "uterine smooth muscle cell",
    "CL:0002633": "respiratory basal cell",
    "CL:0002656": "glandular endometrial unciliated epithelial cell",
    "CL:0005012": "multi-ciliated epithelial cell",
    "CL:0008001": "hematopoietic precursor cell",
    "CL:0008019": "mesenchymal cell",
    "CL:0010003": "epithelial cell of alveolus of lung",
    "CL:0011025": "exhausted T cell",
    "CL:1000143": "lung goblet cell",
    "CL:1000271": "lung multiciliated epithelial cell",
    "CL:1000413": "endothelial cell of artery",
    "CL:2000002": "decidual cell",
    "CL:4028002": "alveolar capillary type 1 endothelial cell",
    "CL:4028003": "alveolar capillary type 2 endothelial cell",
    "CL:4028004": "alveolar type 1 fibroblast cell",
    "CL:4028006": "alveolar type 2 fibroblast cell",
    "CL:4030006": "fallopian tube secretory epithelial cell",
    "CL:4030007": "fallopian tube multiciliated epithelial cell",
    "CL:4052018": "fallopian tube epithelial cell",
    "CL:4052023": "endometrial luminal epithelial cell",
    "CL:4052028": "uterine natural killer cell",
}
"""Names in the Cell Ontology, each looked up, so that a mistyped id stands out."""
USUAL_CODEX_PANEL = (
    "CD45 CD3e CD4 CD8 CD20 CD21 CD68 CD163 CD11c CD15 CD56 CD57 CD31 Podoplanin Pan-Cytokeratin "
    "Vimentin aSMA CD138 CD38 FOXP3 GranzymeB HLA-DR CD11b CD66b CD206 Tryptase CD34 CD2 CD5 CD7 "
    "CD25 CD45RA CD45RO PD-1 PD-L1 LAG-3 ICOS Ki67 E-cadherin CD44 T-bet BCL2 CD14 CD103 CD117 "
    "CD69 VISTA IDO1 CD30 Desmin"
)
USUAL_CYTOF_PANEL = (
    "CD45 CD3 CD4 CD8 CD19 CD20 CD56 CD16 CD14 CD11b CD11c CD33 HLA-DR CD123 CD34 CD38 CD25 CD15"
)
every_tissue = pytest.mark.parametrize("tissue", TISSUES)


def builtin(tissue):
    return parse_marker_map(builtin_map_text(tissue), f"{tissue}.json")


def names_of(marker_map):
    """All names of markers, each once."""
    nodes = {name: None for node in marker_map.nodes for name in node.markers + node.anti_markers}
    vetoes = marker_map.gating.root_veto_markers.values()
    return tuple(nodes | {name: None for veto in vetoes for name in veto.markers})


def means_the_same(name, other):
    return normalise(name) == normalise(other) or normalise(other) in builtin_aliases().partners(
        name
    )


def with_ancestors(marker_map):
    """Each cell type with those above it."""
    for node in marker_map.nodes:
        parts = node.path.split(PATH_SEPARATOR)
        above = (PATH_SEPARATOR.join(parts[:n]) for n in range(1, len(parts)))
        yield node, [marker_map.by_path[path] for path in above]


def labels_of_pure_cells(marker_map, panel, targets, *, noise):
    """Label of 40 cells of each target: its markers and those above it at 3, all others at 0.6."""
    params = AnalysisParams(profile="adaptive")
    resolved = resolve_map(marker_map, Panel(tuple(panel)))
    rng = np.random.default_rng(0)
    rows = []
    for path in targets:
        level = np.full(len(panel), 0.6)
        for node in resolved.nodes:
            if f"{path}{PATH_SEPARATOR}".startswith(f"{node.node.path}{PATH_SEPARATOR}"):
                level[list(node.positions)] = 3
        rows.append(np.clip(level + rng.normal(0, noise, (40, len(panel))), 0, None))
    ids = [str(number) for number in range(len(targets)) for _ in range(40)]
    found = annotate(expression(np.vstack(rows), panel), marker_map, params, clusters=ids)
    by_cluster = found.tables["cluster_annotations"].set_index("cluster_id")["assigned_path"]
    return {path: by_cluster[str(number)] for number, path in enumerate(targets)}


def leaves(marker_map):
    return [node.path for node in marker_map.nodes if node.is_leaf]


def unreachable(marker_map, panel):
    gating = AnalysisParams().gating_for(marker_map)
    return preflight(resolve_map(marker_map, Panel(tuple(panel))), gating).unreachable


@pytest.mark.smoke
def test_there_are_six_maps():
    assert builtin_tissues() == TISSUES


@pytest.mark.parametrize(
    "spelling",
    [
        "tumour-microenvironment",
        "Tumor-Microenvironment",
        "TUMOUR_MICROENVIRONMENT",
        " tumor  microenvironment ",
    ],
)
def test_case_hyphens_and_american_spelling_do_not_matter(spelling):
    assert builtin_name(spelling) == "tumour-microenvironment"
    assert builtin_map_text(spelling) == builtin_map_text("tumour-microenvironment")


@pytest.mark.parametrize(
    ("wrong", "near"), [("bloood", "blood"), ("Fallopian", "fallopian-tube"), ("kidney", None)]
)
def test_an_unknown_map_is_an_error_that_lists_those_there_are(wrong, near):
    hint = f"Did you mean '{near}'? " if near else ""
    text = f"There is no built-in marker map '{wrong}'. {hint}There are: {', '.join(TISSUES)}."
    with pytest.raises(ParameterError, match=f"^{re.escape(text)}$"):
        builtin_map_text(wrong)


@every_tissue
def test_a_map_has_the_agreed_form(tissue):
    raw = json.loads(builtin_map_text(tissue))
    marker_map = builtin(tissue)
    assert set(raw["_marker_map_metadata"]) == {
        "version",
        "tissue",
        "modality",
        "description",
        "sources",
    }
    assert 12 <= len(marker_map.nodes) <= 35
    assert 1 <= max(node.level for node in marker_map.nodes) <= 3
    assert {2, 3, 4, 5, 6} >= {len(node.markers) for node in marker_map.nodes}
    assert len({node.label for node in marker_map.nodes}) == len(marker_map.nodes)


@every_tissue
def test_every_cell_type_has_a_source_that_the_metadata_lists(tissue):
    marker_map = builtin(tissue)
    cited = set()
    for node in marker_map.nodes:
        sentence, _, sources = node.description.partition(" Source: ")
        assert sentence.endswith(".")
        assert re.fullmatch(rf"{CITATION.pattern}( and {CITATION.pattern})?", sources), node.path
        cited |= {match[0] for match in CITATION.finditer(sources)}
    assert {source.partition(" (")[0] for source in marker_map.metadata["sources"]} == cited


@every_tissue
def test_an_ontology_id_is_known_and_stands_for_one_label(tissue):
    ids = [node.ontology_id for node in builtin(tissue).nodes if node.ontology_id is not None]
    assert all(ONTOLOGY_ID.fullmatch(term) for term in ids)
    assert set(ids) <= set(CELL_ONTOLOGY)
    assert len(ids) == len(set(ids))


@every_tissue
def test_a_marker_has_one_name_in_a_map(tissue):
    names = names_of(builtin(tissue))
    same = [pair for pair in combinations(names, 2) if means_the_same(*pair)]
    assert same == []


@every_tissue
def test_on_its_own_markers_a_map_resolves_and_is_reached_whole(tissue):
    marker_map = builtin(tissue)
    resolved = resolve_map(marker_map, Panel(names_of(marker_map)))
    report = preflight(resolved, AnalysisParams().gating_for(marker_map))
    assert {node.coverage for node in resolved.nodes} == {1.0}
    assert not any(report.table["anti_missing"].map(len))
    assert report.unreachable == []
    assert report.warnings == ()


@every_tissue
def test_no_cell_type_contradicts_those_above_it(tissue):
    for node, above in with_ancestors(builtin(tissue)):
        for parent in above:
            assert not set(parent.markers) & set(node.markers), node.path  # says nothing new
            assert not set(parent.markers) & set(node.anti_markers), node.path
            assert not set(parent.anti_markers) & set(node.markers), node.path


@every_tissue
def test_each_sibling_has_a_marker_of_its_own(tissue):
    marker_map = builtin(tissue)
    families = [marker_map.roots, *(node.children for node in marker_map.nodes)]
    for family in families:
        assert len(family) != 1  # a lone child would have nobody to compete with
        for node in family:
            others = {name for other in family if other is not node for name in other.markers}
            assert set(node.markers) - others, node.path


@every_tissue
def test_pure_cells_of_each_leaf_come_out_as_themselves(tissue):
    marker_map = builtin(tissue)
    targets = leaves(marker_map)
    found = labels_of_pure_cells(marker_map, names_of(marker_map), targets, noise=0.9)
    assert found == {path: path for path in targets}


def test_a_usual_codex_panel_serves_most_of_its_map():
    marker_map = builtin("codex-immune")
    panel = USUAL_CODEX_PANEL.split()
    lost = unreachable(marker_map, panel)
    assert [path.rpartition(PATH_SEPARATOR)[2] for path in lost] == [
        "Germinal Centre B Cells",
        "cDC1",
        "cDC2",
        "Plasmacytoid Dendritic Cells",
        "Fibroblasts",
        "Pericytes",
    ]
    targets = [path for path in leaves(marker_map) if path not in lost]
    found = labels_of_pure_cells(marker_map, panel, targets, noise=0.4)
    assert found == {path: path for path in targets}


def test_the_map_of_blood_serves_a_panel_of_proteins():
    marker_map = builtin("blood")
    targets = [
        "T Cells / CD4 T Cells",
        "T Cells / CD8 T Cells",
        "NK Cells / CD56dim NK Cells",
        "B Lineage / B Cells",
        "Mononuclear Phagocytes / Monocytes / Classical Monocytes",
        "Plasmacytoid Dendritic Cells",
        "Progenitors",
    ]
    found = labels_of_pure_cells(marker_map, USUAL_CYTOF_PANEL.split(), targets, noise=0.4)
    assert found == {path: path for path in targets}


def test_the_page_says_what_the_maps_hold():
    page = (Path(__file__).parents[2] / "docs" / "builtin-maps.md").read_text(encoding="utf-8")
    for tissue in TISSUES:
        marker_map = builtin(tissue)
        roots = ", ".join(root.label for root in marker_map.roots)
        assert re.search(
            rf"^\| `{tissue}` \| [^|]+ \| {roots} \| {len(marker_map.nodes)} \|", page, re.MULTILINE
        )
