"""What the engine starts for a stand-in: asks the rehearsal's fork server for a process, and is its pulse.

`python -I -S fork_client.py <socket> <module> <arguments>`. The process that runs the module is a child of the fork
server, with this process's environment, working directory and standard streams. This one passes signals on to it, ends
with its status, and takes it along when it is killed. Where there is no fork server it becomes that process itself.

The standard library's cheapest modules only: the start of this process is what a stand-in costs.
"""

import os
import signal
import socket
import sys

PULSE = 0.5
"""Seconds between two looks whether the engine is still there."""

_REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - importing pathlib takes longer than all of this


def main(address: str, module: str, *arguments: str) -> None:
    """Runs the module to its end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # no traceback
    engine = os.getppid()
    connection = socket.socket(socket.AF_UNIX)
    try:
        pid = _ask(connection, address, [module, *arguments])
    except OSError:
        _run_here(module, arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(pid, number))
    connection.settimeout(PULSE)
    while True:
        try:
            status = connection.recv(1)
        except TimeoutError:
            if os.getppid() != engine:  # it was killed
                os.kill(pid, signal.SIGTERM)
                engine = os.getppid()
        else:
            # What it has started ends with it, such as a program that waits for an engine which has hung up: the engine
            # kills the process group of a plugin, and this one has a group of its own.
            try:  # noqa: SIM105 - importing contextlib takes longer
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            # Without a word it was killed itself.
            os._exit(status[0] if status else 1)


def _ask(connection: socket.socket, address: str, command: list[str]) -> int:
    """The id of the process that the fork server made. Raises `OSError` where it made none."""
    here = os.getcwd()  # noqa: PTH109 - as above
    os.chdir(os.path.dirname(address))  # noqa: PTH120 - as above; the address of a socket is at most 107 bytes long
    try:
        connection.connect(os.path.basename(address))  # noqa: PTH119 - as above
    finally:
        os.chdir(here)
    fields = [here, str(len(command)), *command, *(f"{name}={value}" for name, value in os.environ.items())]
    request = "\0".join(fields).encode("utf-8", "surrogateescape")
    socket.send_fds(connection, [len(request).to_bytes(8)], [0, 1, 2])
    connection.sendall(request)
    answer = connection.recv(8, socket.MSG_WAITALL)
    if len(answer) < 8:
        raise ConnectionError("the fork server is gone")
    return int.from_bytes(answer)


def _run_here(module: str, arguments: tuple[str, ...]) -> None:
    environment = {**os.environ, "PYTHONPATH": _REPOSITORY}
    os.execve(sys.executable, [sys.executable, "-u", "-m", module, *arguments], environment)  # noqa: S606 - to be that process


if __name__ == "__main__":
    main(*sys.argv[1:])
