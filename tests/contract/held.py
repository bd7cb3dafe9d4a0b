"""An emulator that is checked against the contract that its vendor publishes."""

from __future__ import annotations

from abc import ABC, abstractmethod

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Operation = tuple[str, str]
"""Method, and path with placeholders."""


class Held(ABC):
    """An application in front of the emulator that checks every request and answer against the published contract."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.seen: set[tuple[Operation, int]] = set()
        self.problems: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent, answer = bytearray(), list[Message]()
        more = True
        while more:
            message = await receive()
            sent.extend(message.get("body", b""))
            more = message.get("more_body", False)

        async def whole() -> Message:
            return {"type": "http.request", "body": bytes(sent), "more_body": False}

        async def hold(message: Message) -> None:
            answer.append(message)

        await self._app(scope, whole, hold)
        operation = self.operation_of(scope)
        status, answered = answer[0]["status"], b"".join(message.get("body", b"") for message in answer)
        self.seen.add((operation, status))
        try:
            self.check(operation, scope, bytes(sent), status, answered)
        except (AssertionError, KeyError, ValueError) as error:
            self.problems.append(f"{operation} {status}: {error!r}")
        for message in answer:
            await send(message)

    @staticmethod
    @abstractmethod
    def operation_of(scope: Scope) -> Operation:
        """The requested operation."""

    @staticmethod
    @abstractmethod
    def check(operation: Operation, scope: Scope, sent: bytes, status: int, answered: bytes) -> None:
        """Raises if the request or its answer is not what the contract says."""
