"""A module that says what kind of process it is, and does what its argument asks for."""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import time
from pathlib import Path

seen: list[str] = []


def main(task: str) -> None:
    seen.append(task)
    about = {"cwd": str(Path.cwd()), "variable": os.environ.get("GREETING"), "seen": seen, "pid": os.getpid()}
    print(json.dumps(about), flush=True)
    print("to standard error", file=sys.stderr, flush=True)
    if task == "fail":
        sys.exit(7)
    if task == "clean":
        atexit.register(print, "cleaned up", flush=True)
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "sleep":
        print("waiting", flush=True)
        time.sleep(60)
    if task == "wait":
        signal.signal(signal.SIGINT, lambda *_: sys.exit(3))
        print("waiting", flush=True)
        time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1])
