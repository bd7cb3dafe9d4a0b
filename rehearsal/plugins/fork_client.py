"""What the engine starts for a stand-in: asks the rehearsal's fork server for a process, and watches over it.

`python -I -S fork_client.py <socket> <module> <arguments>`. The process that runs the module is a child of the fork
server, with this process's environment, working directory and standard streams. This process passes signals on to it
and exits with its status; if this one is killed, the other ends, too. Without a fork server, it becomes that process.

Signals go through the connection, not to a process id. They arrive after the request, so none is lost while the process
is being made, and none reaches a process that has reused the id of one that has ended.

Imports only the standard library's cheapest modules: the start of this process is what a stand-in costs.
"""

import os
import select
import signal
import socket
import stat
import sys

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PULSE = 0.5
"""Seconds between two checks that the engine still runs."""

_REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - importing pathlib takes longer than all of this


def main(address: str, module: str, *arguments: str) -> None:
    """Runs the module to its end."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)  # no traceback
    engine = os.getppid()
    connection = socket.socket(socket.AF_UNIX)
    received: list[int] = []
    try:
        pid = _ask(connection, address, [module, *arguments], received)
    except OSError:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
            if number in received:  # the signal was lost with the server
                os.kill(os.getpid(), number)
        _run_here(module, arguments)
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    has_pipe = stat.S_ISFIFO(os.fstat(0).st_mode)
    if has_pipe:
        poll.register(0, 0)  # hung up once nobody holds its other end
    while True:
        events = dict(poll.poll(PULSE * 1000))
        if connection.fileno() in events:
            break
        # If the engine was killed before we first looked, only the end of our standard input shows it.
        if 0 in events or os.getppid() != engine:
            engine = os.getppid()
            if has_pipe:
                poll.unregister(0)
                has_pipe = False
            _send(connection, signal.SIGTERM)
    _end_as(connection, pid)


def _end_as(connection: socket.socket, pid: int) -> None:
    """Exits with the status of the process.

    What the process has started ends with it, such as a program that waits for an engine that has hung up: the engine
    kills a plugin's process group, but the fork has another one. It kills that group itself, unless it was killed.
    """
    try:
        status = connection.recv(1)
    except OSError:
        status = b""
    if not status:
        try:  # noqa: SIM105 - importing contextlib takes longer
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    os._exit(status[0] if status else 1)


def _ask(connection: socket.socket, address: str, command: list[str], received: list[int]) -> int:
    """The id of the process that the fork server made. Raises `OSError` if it made none.

    From here on, signals are passed on and recorded in `received`.
    """

    def pass_on(number: int, _: object) -> None:
        received.append(number)
        _send(connection, number)

    here = os.getcwd()  # noqa: PTH109 - as above
    os.chdir(os.path.dirname(address))  # noqa: PTH120 - as above; the address of a socket is at most 107 bytes long
    try:
        connection.connect(os.path.basename(address))  # noqa: PTH119 - as above
    finally:
        os.chdir(here)
    fields = [here, str(len(command)), *command, *(f"{name}={value}" for name, value in os.environ.items())]
    request = "\0".join(fields).encode("utf-8", "surrogateescape")
    # Until now, a signal has ended this process; from the last byte of the request on, it is meant for the other.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        socket.send_fds(connection, [len(request).to_bytes(8)], [0, 1, 2])
        connection.sendall(request)
        for number in SIGNALS:
            signal.signal(number, pass_on)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    answer = connection.recv(8, socket.MSG_WAITALL)
    if len(answer) < 8:
        raise ConnectionError("the fork server is gone")
    return int.from_bytes(answer)


def _send(connection: socket.socket, number: int) -> None:
    try:  # noqa: SIM105 - as above
        connection.send(bytes([number]))
    except OSError:  # it has ended
        pass


def _run_here(module: str, arguments: tuple[str, ...]) -> None:
    environment = {**os.environ, "PYTHONPATH": _REPOSITORY}
    os.execve(sys.executable, [sys.executable, "-u", "-m", module, *arguments], environment)  # noqa: S606 - to be that process


if __name__ == "__main__":
    main(*sys.argv[1:])
