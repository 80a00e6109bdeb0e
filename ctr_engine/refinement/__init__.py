"""Refinement of an annotated sample: propose, plan, change, until nothing moves."""
