"""The device of a step: chosen by ``ctr.yaml``, told once in each run, recorded everywhere."""

import dagster as dg

from ctr_assets.partitions import parse_key
from ctr_assets.project import Project
from ctr_engine.devices import Device, used_device

DEVICE_TAG = "ctr/used-device"
"""Tag of a run. The tag ``ctr/device`` of a step is what it asks for."""


def device_for(context: dg.AssetExecutionContext, project: Project) -> Device:
    """Give the device on which a step computes.

    Raises
    ------
    ParameterError
        If ``ctr.yaml`` asks for a GPU and none can be used.
    """
    wanted = project.pipeline_for(parse_key(context.partition_key)).device
    device = used_device(wanted)
    run = context.instance.get_run_by_id(context.run.run_id)
    if run is not None and DEVICE_TAG not in run.tags:
        context.instance.add_run_tags(context.run.run_id, {DEVICE_TAG: device.name})
        if device.warning:
            context.log.warning(device.warning)
    return device
