"""One process that has imported every stand-in, and makes the engine's plugin processes by forking itself.

The engine starts each plugin two to four times per command, and importing a stand-in takes longer than its work. A fork
costs a few milliseconds and is otherwise the process that the engine asked for: its environment, working directory and
standard streams are those of the engine's own child (`fork_client`), and its configuration ends with it. So nothing
leaks from one command, stack or rehearsal into another.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import importlib.util
import os
import runpy
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from rehearsal.processes import Child, running

_CLIENT = Path(__file__).with_name("fork_client.py")
SOCKET = "plugins.socket"


@contextmanager
def fork_server(directory: Path, modules: Sequence[str]) -> Iterator[Child | None]:
    """A fork server for the duration of the context. Nothing waits for it: it serves an early client later.

    Linux only; elsewhere it does nothing, because macOS's frameworks do not survive a fork.
    """
    if sys.platform != "linux" or not modules:
        yield None
        return
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(directory)  # the address of a socket is at most 107 bytes long
        try:
            listener.bind(SOCKET)
        finally:
            os.chdir(here)
        listener.listen(64)
        # The path is for readers of the process list, in which every fork shows this command.
        where = [str(listener.fileno()), str(directory / SOCKET)]
        command = [sys.executable, "-u", "-m", "rehearsal.plugins.fork_server", *where, *modules]
        # Nobody's environment: what a library reads when it is imported must not differ from the engine's variables.
        environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
        log = directory / "fork-server.log"
        with running(command, log=log, environment=environment, keep=[listener.fileno()]) as child:
            listener.close()  # from here on only the server has it: clients are refused once it is gone
            yield child


def is_serving() -> bool:
    """Whether this process is a fork server, whose imports serve all forks, or a fork of one."""
    return "rehearsal.plugins.fork_server" in sys.orig_argv


def client(directory: Path, module: str) -> str:
    """The shell command that runs a module as a fork of the server in `directory`."""
    return shlex.join([sys.executable, "-I", "-S", str(_CLIENT), str(directory / SOCKET), module])


def serve(listener: socket.socket, modules: Sequence[str]) -> None:
    """Imports what the modules need, then forks for every client until this process is ended."""
    for module in modules:
        spec = importlib.util.find_spec(module)
        is_package = spec is not None and spec.submodule_search_locations is not None
        main = f"{module}.__main__" if is_package else module
        importlib.import_module(main)
        del sys.modules[main]  # each fork runs it again, under another name
    # Collected now and then frozen: a later collection would write to, and so copy, every page of every fork.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, _reap)
    # A shell makes its background jobs ignore SIGINT. The dynamic provider would ignore it, too; the engine, which ends
    # plugins one after the other, would wait 5 s for it and then report the next ones as broken.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            _become_what_is_asked_for(connection)
        connection.close()


def _reap(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _become_what_is_asked_for(connection: socket.socket) -> NoReturn:
    """Runs the module as `python -m` would, with everything that a child of the client would inherit."""
    os.setpgid(0, 0)
    length, streams, _, _ = socket.recv_fds(connection, 8, 3)
    request = connection.recv(int.from_bytes(length), socket.MSG_WAITALL)
    directory, count, *rest = request.decode("utf-8", "surrogateescape").split("\0")
    (module, *arguments), variables = rest[: int(count)], rest[int(count) :]
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(variable.partition("=")[::2] for variable in variables)
    connection.sendall(os.getpid().to_bytes(8))
    threading.Thread(target=_follow, args=(connection,), daemon=True).start()
    sys.argv = [module, *arguments]
    status = [1]
    # Runs after all threads, and after what the module itself registers, such as the Kubernetes client's removal of its
    # temporary files. Shutting the interpreter down would take longer than most plugins run.
    atexit.register(_exit, connection, status)
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status[:] = [0]
    except SystemExit as error:
        status[:] = [error.code if isinstance(error.code, int) else int(error.code is not None)]
        raise
    sys.exit()


def _exit(connection: socket.socket, status: list[int]) -> NoReturn:
    sys.stdout.flush()
    with contextlib.suppress(OSError):  # the client is gone
        connection.sendall(bytes(status))
    # What it has started ends with it. A kill from outside might come when its id already belongs to another process.
    os.killpg(0, signal.SIGKILL)
    raise AssertionError("a process outlives SIGKILL")


def _follow(client_: socket.socket) -> None:
    """Receives the signals that the client passes on; as a last resort, kills this group once the client is gone."""
    with contextlib.suppress(OSError):
        while number := client_.recv(1):
            os.kill(os.getpid(), number[0])
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[3:])
