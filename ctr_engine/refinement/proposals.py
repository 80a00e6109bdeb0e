"""What an iteration is asked to do: by the criteria, by a manual file, within a focus."""

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from ctr_engine.documents import Document
from ctr_engine.errors import ConfigError, Fault
from ctr_engine.refinement.criteria import diagnose
from ctr_engine.refinement.engine import Rules, Sample, Scored
from ctr_engine.refinement.focus import Focus, focus_of, in_focus
from ctr_engine.refinement.manual import ManualPlan, read_manual, within
from ctr_engine.refinement.naming import Clusters, Expected
from ctr_engine.refinement.partition import Partition
from ctr_engine.refinement.plan import Plan, clusters_of
from ctr_engine.refinement.policies import auto_operations, merged_plan
from ctr_engine.refinement.regrouping import Regrouping, regrouping_of


@dataclass(frozen=True)
class Policy:
    """Who proposes, and about which clusters.

    Attributes
    ----------
    auto
        Whether the criteria propose, or the two passes.
    manual
        Content of a manual file.
    focus_labels, focus_clusters
        Clusters that may be changed; all when None.
    chained
        Whether further iterations follow, so that an entry may name a part that one of them makes.
    two_pass
        Whether the two passes propose in place of the criteria.
    """

    auto: bool = True
    manual: Document | None = None
    focus_labels: tuple[str, ...] | None = None
    focus_clusters: tuple[str, ...] | None = None
    chained: bool = False
    two_pass: bool = False


@dataclass(frozen=True)
class Proposal:
    """A plan, and the diagnosis, the two passes and the manual entries that it comes from."""

    plan: Plan
    report: pd.DataFrame
    manual: ManualPlan
    warnings: tuple[str, ...]
    regrouping: Regrouping | None = None


def propose(
    policy: Policy, sample: Sample, scored: Scored, done: Collection[str], *, first: bool
) -> Proposal:
    """Make the plan of an iteration.

    Parameters
    ----------
    done
        Entries of the manual file that earlier iterations carried out.
    first
        Whether this is the first iteration of those that the policy is for.

    Raises
    ------
    CtrError
        If the manual file, or in the first iteration the focus, names what is not there.
    """
    focus = _focus(policy, sample, scored, first=first)
    params = sample.refinement
    manual = asked_for(policy, sample, scored.partition, done, first=first)
    if first:
        _require_in_focus(policy, manual, focus)
    else:
        manual = within(manual, focus.clusters)
    found = None
    if policy.auto and policy.two_pass:
        found = _two_passes(sample, scored, set(focus.clusters) - set(manual.claimed))
    report = diagnose(
        scored.states,
        scored.decider,
        scored.positive_fraction,
        params,
        focus.clusters,
        None if found is None else found.clusters,
    )
    auto = auto_operations(report, params) if policy.auto else []
    proposed = auto if found is None else found.operations
    plan = merged_plan(proposed, manual, focus.clusters)
    return Proposal(plan, report, manual, focus.warnings, found)


def _two_passes(sample: Sample, scored: Scored, clusters: Collection[str]) -> Regrouping:
    """Run the two passes over clusters whose label no person gave."""
    by_hand = {s.cluster_id for s in scored.states if s.overridden or s.by_hand}
    return regrouping_of(
        scored.partition,
        sample.coordinates,
        set(clusters) - by_hand,
        sample.refinement,
        n_jobs=sample.n_jobs,
    )


def _require_in_focus(policy: Policy, manual: ManualPlan, focus: Focus) -> None:
    """Refuse entries that would change a cluster outside the focus, each with its line."""
    if policy.manual is None:
        return
    faults = []
    for operation, entry in zip(manual.operations, manual.entries, strict=True):
        outside = [name for name in clusters_of(operation) if name not in focus.clusters]
        if outside:
            section, _, index = entry.partition(".")
            line = policy.manual.line((section, int(index)))
            names = ", ".join(map(repr, outside))
            message = f"cluster {names} is not in focus; widen the focus, or take the entry out"
            faults.append(Fault(message, entry, line))
    if faults:
        raise ConfigError(policy.manual.source, faults)


def asked_for(
    policy: Policy, rules: Rules, partition: Partition, done: Collection[str], *, first: bool
) -> ManualPlan:
    """Read what the manual file still asks for; the cells themselves are not needed.

    Raises
    ------
    ConfigError
        With every fault of the file.
    """
    if policy.manual is None:
        return ManualPlan()
    expected: Expected = "none" if not first else "parts" if policy.chained else "all"
    known = Clusters(partition.ids, partition, expected)
    resolution = rules.refinement.resolution
    return read_manual(policy.manual, rules.marker_map, known, resolution, done)


def _focus(policy: Policy, sample: Sample, scored: Scored, *, first: bool) -> Focus:
    """Clusters that may be changed; what was in focus at first may have another label later."""
    labels, clusters = policy.focus_labels, policy.focus_clusters
    if not first:
        return Focus(in_focus(scored.states, labels, clusters))
    return focus_of(scored.states, sample.marker_map, labels, clusters)
