"""Runs one Pulumi program in a fresh interpreter: what the language host starts for every `Run`.

Takes one argument, a JSON object that says which program, for which stack, and where engine and monitor listen; the
configuration comes in `PULUMI_CONFIG`. Imports nothing from the rehearsal, which is not on the program's path.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import runpy
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pulumi
from pulumi import runtime
from pulumi.runtime.settings import reset_options

_BAIL = 32  # rehearsal.engine.language_host.BAIL


def main(run: dict[str, Any]) -> int:
    """Runs the program described by `run`; the exit status is 0, or once it has reported what is wrong 32.

    After a `RunError` it is 1, as with the real host: the engine then adds an error of its own.
    """
    program = Path(run["program_directory"])
    os.chdir(program)
    sys.path.insert(0, str(program))
    runtime.set_all_config(runtime.get_config_env(), json.loads(os.environ["PULUMI_CONFIG_SECRET_KEYS"]))
    reset_options(
        project=run["project"],
        stack=run["stack"],
        root_directory=run["root_directory"],
        parallel=run["parallel"],
        engine_address=run["engine_address"],
        monitor_address=run["monitor_address"],
        preview=run["preview"],
        organization=run["organization"],
    )
    # The SDK awaits its tasks itself and reports what they raise; asyncio would print it a second time.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    # Four times the engine's parallelism, as the real host does: each outstanding call to the monitor holds a thread.
    loop.set_default_executor(ThreadPoolExecutor(max_workers=max(run["parallel"], 1) * 4))
    loop.set_exception_handler(_stop_on_a_lost_engine)
    try:
        loop.run_until_complete(runtime.run_in_stack(lambda: _run(program / run["entry_point"])))
    except pulumi.RunError as error:
        _report(str(error))
        return 1
    except grpc.RpcError as error:
        # The monitor goes away once the engine has decided to stop and has reported it.
        lost = getattr(error, "code", lambda: None)() == grpc.StatusCode.UNAVAILABLE
        return _BAIL if lost else _fail(f"RPC error: {error}")
    except Exception:  # noqa: BLE001 - whatever the program raises is shown to its user
        return _fail("Program failed with an unhandled exception:\n" + traceback.format_exc())
    finally:
        _cancel_all(loop)
        loop.close()
    return 0


def _run(entry_point: Path) -> None:
    runpy.run_path(str(entry_point), run_name="__main__")


def _fail(message: str) -> int:
    _report(message)
    return _BAIL


def _report(message: str) -> None:
    with suppress(grpc.RpcError):
        pulumi.log.error(message)


def _stop_on_a_lost_engine(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if isinstance(context.get("exception"), grpc.RpcError):
        loop.stop()
    else:
        loop.default_exception_handler(context)


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            loop.run_until_complete(task)


if __name__ == "__main__":
    description = json.loads(sys.argv[1])
    status = main(description)
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: threads that wait for an engine that is gone would keep the process alive.
    os._exit(status)
