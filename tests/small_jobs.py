"""Jobs of a moment for the launcher: one says what process it is, one sleeps."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import dagster as dg


class Place(dg.Config):
    folder: str


@dg.op
def say(context: dg.OpExecutionContext, config: Place) -> None:
    """Write down what the process is like."""
    found = {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "input": os.read(0, 1).decode(),
        "ignores_interrupts": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        "imported": "sklearn.neighbors" in sys.modules,
        "arguments": sys.argv[:3],
    }
    Path(config.folder, context.run_id).write_text(json.dumps(found))


@dg.op
def sleep(context: dg.OpExecutionContext, config: Place) -> None:
    """Work for longer than any test."""
    Path(config.folder, context.run_id).write_text(str(os.getpid()))
    time.sleep(600)


@dg.op(retry_policy=dg.RetryPolicy(max_retries=2, delay=1))
def sleep_again(context: dg.OpExecutionContext, config: Place) -> None:
    """Work for longer than any test, again after each interrupt."""
    Path(config.folder, context.run_id).write_text(str(os.getpid()))
    time.sleep(600)


@dg.job
def sleeps_again() -> None:
    sleep_again()


@dg.job
def says() -> None:
    say()


@dg.job
def sleeps() -> None:
    sleep()


defs = dg.Definitions(jobs=[says, sleeps, sleeps_again], executor=dg.in_process_executor)
