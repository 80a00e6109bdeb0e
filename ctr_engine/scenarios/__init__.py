"""Practice samples, each with a planted fault, for the tuning guide (``docs/tuning.md``)."""

from ctr_engine.scenarios.catalogue import SCENARIOS, Scenario, make_scenario

__all__ = ["SCENARIOS", "Scenario", "make_scenario"]
