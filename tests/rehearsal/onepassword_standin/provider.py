"""One process of the stand-in for pulumi-onepassword, called over gRPC as the engine calls it, and an item in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from rehearsal.plugins.values import Properties, decode, encode

ITEM = "Invoicetron Dev"
URN = "urn:pulumi:dev::invoicetron::onepassword:index/item:Item::item"


class RefusedError(Exception):
    """The error that the engine would show."""


class Provider:
    """One process of the plugin, which the test calls in place of the engine."""

    def __init__(self, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rehearsal.plugins.onepassword"],
            cwd=Path(__file__).parents[3],
            env={**{name: text for name, text in os.environ.items() if not name.startswith("OP_")}, **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._channel = grpc.insecure_channel(f"127.0.0.1:{int(self._process.stdout.readline())}")
        self._stub = provider_pb2_grpc.ResourceProviderStub(self._channel)

    def stop(self) -> None:
        self._channel.close()
        self._process.terminate()
        self._process.wait(timeout=10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def call(self, method: str, **fields: Any) -> Any:
        """A request of the protocol; properties are given as plain values, `Secret` and `UNKNOWN`."""
        encoded = {name: encode(value) if isinstance(value, dict) else value for name, value in fields.items()}
        request = getattr(provider_pb2, f"{method}Request")(**encoded)
        try:
            return getattr(self._stub, method)(request, timeout=30)
        except grpc.RpcError as error:
            raise RefusedError(error.details()) from None

    def check_config(self, **news: str) -> Properties:
        """The provider's inputs as the state records them."""
        return decode(self._stub.CheckConfig(provider_pb2.CheckRequest(news=encode(news)), timeout=30).inputs)

    def configure(self, **config: str) -> None:
        self.call("Configure", args=config, acceptSecrets=True)

    def invoke(self, function: str, **arguments: str) -> Properties:
        answer = self.call("Invoke", tok=f"onepassword:index/{function}:{function}", args=arguments)
        return decode(getattr(answer, "return"))


class Item:
    """An Item resource with what the engine remembers of it."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.id, self.inputs, self.outputs = "", Properties(), Properties()

    def check(self, inputs: Properties) -> Properties:
        answer = self._provider.call("Check", urn=URN, news=inputs, olds=self.inputs)
        assert not answer.failures, answer.failures
        return decode(answer.inputs)

    def create(self, inputs: Properties, *, preview: bool = False) -> None:
        checked = self.check(inputs)
        made = self._provider.call("Create", urn=URN, properties=checked, preview=preview)
        self.id, self.inputs, self.outputs = made.id, checked, decode(made.properties)

    def diff(self, inputs: Properties) -> Any:
        remembered = {"olds": self.outputs, "old_inputs": self.inputs}
        return self._provider.call("Diff", urn=URN, id=self.id, news=self.check(inputs), **remembered)

    def update(self, inputs: Properties, *, preview: bool = False) -> None:
        remembered = {"olds": self.outputs, "old_inputs": self.inputs}
        checked = self.check(inputs)
        made = self._provider.call("Update", urn=URN, id=self.id, news=checked, preview=preview, **remembered)
        self.inputs, self.outputs = checked, decode(made.properties)

    def read(self, id_: str | None = None) -> None:
        """A refresh or, with an id, an import."""
        remembered = {} if id_ else {"properties": self.outputs, "inputs": self.inputs}
        found = self._provider.call("Read", urn=URN, id=id_ or self.id, **remembered)
        self.id, self.inputs, self.outputs = found.id, decode(found.inputs), decode(found.properties)

    def delete(self) -> None:
        self._provider.call("Delete", urn=URN, id=self.id, properties=self.outputs)


def value(item: Properties, label: str) -> str:
    """The only value with that label in the item's sections."""
    (found,) = [field["value"] for part in item["sections"] for field in part["fields"] if field["label"] == label]
    return str(found)
