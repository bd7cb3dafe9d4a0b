"""A client reconnects in a loop through many password rotations, some of which crash half-way."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg
import pytest

from rehearsal.pods.postgres import PostgresServer
from tests.database.start_hook import connect, start_hook
from tests.kills import kills

ROTATIONS = kills(100)
PATIENCE = 60
"""Seconds within which the client must have logged in with a new password."""


def password(number: int) -> str:
    return f"password-{number}"


@dataclass
class Client:
    """Logs in again and again: with the password from before the rotation or, if that is refused, with the new one.

    The app is such a client: its pods have one or the other, depending on whether they have already been replaced.
    """

    server: PostgresServer
    rotation: int = 0
    restarting: bool = False
    """Whether the server is stopping or starting: the only time when it need not answer."""
    locked_out: list[str] = field(default_factory=list)
    turned_away: int = 0
    logins: int = 0
    newest: threading.Event = field(default_factory=threading.Event)
    """Set once the server has accepted the newest password."""
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Held during a turn of the loop; a rotation begins, and a restart ends, between two turns."""
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.is_set():
            with self.turn:
                self._log_in()
            self.stop.wait(0.005)  # lets the others take the lock

    def _log_in(self) -> None:
        refusals = []
        for number in (self.rotation - 1, self.rotation):
            try:
                connect(self.server, password(number)).close()
            except psycopg.OperationalError as refusal:
                refusals.append(str(refusal))
                continue
            self.logins += 1
            if number == self.rotation:
                self.newest.set()
            return
        # During a restart there may be no answer at all; a server that answers must accept one of the two.
        if not self.restarting or all("password authentication failed" in refusal for refusal in refusals):
            self.locked_out.append(f"rotation {self.rotation}: {refusals}")
        self.turned_away += 1


@pytest.fixture
def client() -> Iterator[Client]:
    with PostgresServer(password=password(0)) as server:
        one = Client(server)
        thread = threading.Thread(target=one.run)
        thread.start()
        try:
            yield one
        finally:
            one.stop.set()
            thread.join()


def rotate(client: Client, chance: random.Random) -> None:
    """Does what a changed Secret does to the pod: the server restarts, and the hook sets the new password.

    In one of five rotations, the server is killed instead of stopped; in another, it is killed at some moment while the
    hook runs, and both are started again.
    """
    server = client.server
    with client.turn:
        client.rotation += 1
        client.newest.clear()
    new = password(client.rotation)
    how = client.rotation % 5
    restart(client, crash=how == 1)
    if how == 2:
        hook = threading.Thread(target=start_hook, args=(server, new), kwargs={"patience": 0})
        hook.start()
        time.sleep(chance.uniform(0, 0.2))
        restart(client, crash=True)
        hook.join()
    assert start_hook(server, new).returncode == 0
    assert client.newest.wait(PATIENCE), f"the password of rotation {client.rotation} is not accepted"


def restart(client: Client, *, crash: bool) -> None:
    with client.turn:
        client.restarting = True
    if crash:
        client.server.kill()
    else:
        client.server.stop()
    client.server.start()
    with client.turn:
        client.restarting = False


def test_no_client_is_locked_out_through_many_rotations(client: Client) -> None:
    chance = random.Random(20260206)  # noqa: S311 - repeatable, not secret
    for _ in range(ROTATIONS):
        rotate(client, chance)
    assert client.locked_out == []
    assert client.turned_away, "the client noticed no restart: it was not trying"
    assert client.logins >= 2 * ROTATIONS
