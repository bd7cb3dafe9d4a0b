"""The life of a stack, step by step, each with what a person would look at: `make rehearse`, and a rehearsal test.

A step is a method; its docstring's first line is its row in the table, what it returns is what was seen. It raises
`LifeError` where the program did not do what it promises.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rehearsal.engine import EngineError
from rehearsal.world import World

PIPELINE_IMAGE = "registry.k8s.rommelporras.com/0xwsh/invoicetron/{stack}:{tag}"


class LifeError(Exception):
    """The program did not keep a promise; the message says which."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the table."""

    step: str
    result: str
    ok: bool
    seconds: float


class Life:
    """The steps, in order, for one stack of one rehearsal."""

    def __init__(self, world: World, stack: str) -> None:
        self.world, self.stack = world, stack
        self.namespace = f"invoicetron-{stack}"
        self.image = PIPELINE_IMAGE.format(stack=stack, tag="1a2b3c4d")

    def rows(self) -> Iterator[Row]:
        """Runs the steps and gives each row as it is done; stops at the first failure."""
        steps: list[tuple[str, Callable[[], str]]] = [
            ("up from nothing", self.up_from_nothing),
            ("up again", self.up_again),
            ("the pipeline deploys, then a setting changes", self.deployed_then_configured),
            ("a field edited by hand", self.edited_by_hand),
            ("a secret changed in 1Password", self.secret_changed),
            ("destroy", self.destroyed),
        ]
        if self.stack == "prod":
            steps.insert(-1, ("destroy while protected", self.destroy_refused))
        for step, run in steps:
            started = time.monotonic()
            try:
                result, ok = run(), True
            except (LifeError, EngineError) as error:
                result, ok = str(error), False
            yield Row(step=step, result=result, ok=ok, seconds=time.monotonic() - started)
            if not ok:
                return

    def up_from_nothing(self) -> str:
        """Everything is created, and the database is ready."""
        self.world.program.init(self.stack)
        update = self.world.program.up(self.stack)
        self._expect(
            self._get("statefulset", "invoicetron-db")["status"].get("readyReplicas") == 1, "database not ready"
        )
        return f"{update.counts['create']} resources created, the database is ready"

    def up_again(self) -> str:
        """Nothing changes."""
        changes = self.world.program.up(self.stack).changes
        self._expect(not changes, f"a second up changed {changes}")
        return "nothing changed"

    def deployed_then_configured(self) -> str:
        """`kubectl set image` as the pipeline does it, then another memory limit: the image stays."""
        self.deploy(self.image)
        self.world.configure(self.stack, "app.resources.limits.memory", "1536Mi")
        update = self.world.program.up(self.stack)
        self._expect(self._image() == self.image, f"the pipeline's image became {self._image()}")
        limit = self._container()["resources"]["limits"]["memory"]
        self._expect(limit == "1536Mi", f"the limit is {limit}, not 1536Mi")
        self.world.kubectl("-n", self.namespace, "rollout", "status", "deployment/invoicetron", "--timeout=120s")
        return f"image kept, memory limit changed ({_listed(update.changes)})"

    def edited_by_hand(self) -> str:
        """A person turns the readiness probe's path into nonsense; the next up heals it and keeps the image."""
        patch = [
            {
                "op": "replace",
                "path": "/spec/template/spec/containers/0/readinessProbe/httpGet/path",
                "value": "/nonsense",
            }
        ]
        self.world.kubectl(
            "-n", self.namespace, "patch", "deployment", "invoicetron", "--type=json", "-p", json.dumps(patch)
        )
        self.world.program.up(self.stack)
        path = self._container()["readinessProbe"]["httpGet"]["path"]
        self._expect(path == "/api/health", f"the probe's path is still {path}")
        self._expect(self._image() == self.image, f"the pipeline's image became {self._image()}")
        return "healed, image kept"

    def secret_changed(self) -> str:
        """A new password in 1Password reaches the Secret, and database and app are rolled."""
        before = {kind: self._template_annotations(kind) for kind in ("statefulset", "deployment")}
        self.world.onepassword.rotate(self.stack)
        self.world.program.up(self.stack)
        for kind in ("statefulset", "deployment"):
            self._expect(self._template_annotations(kind) != before[kind], f"the {kind}'s pods were not rolled")
        self._expect(self._image() == self.image, f"the pipeline's image became {self._image()}")
        return "secrets changed, database and app rolled, image kept"

    def destroy_refused(self) -> str:
        """prod protects its data: `destroy` refuses and touches nothing."""
        before = self.objects()
        try:
            self.world.program.destroy(self.stack)
        except EngineError as error:
            self._expect("protect" in str(error), f"destroy failed for another reason:\n{error}")
        else:
            raise LifeError("destroy went through")
        self._expect(self.objects() == before, "something was deleted all the same")
        return "refused, everything is still there"

    def destroyed(self) -> str:
        """Nothing is left (prod: after the protection was taken away by hand)."""
        if self.stack == "prod":
            self.world.program.run("state", "unprotect", "--all", "--yes", "--stack", self.stack)
        update = self.world.program.destroy(self.stack)
        self._expect(not self.objects(), f"left behind: {self.objects()}")
        self._expect(
            not self.world.program.export(self.stack)["deployment"].get("resources"), "resources left in state"
        )
        return f"{update.counts['delete']} resources deleted, nothing left"

    def deploy(self, image: str) -> None:
        """What the app's pipeline does."""
        target = ["-n", self.namespace, "set", "image", "deployment/invoicetron", f"invoicetron={image}"]
        self.world.kubectl(*target, "--field-manager=gitlab-ci")
        self.world.kubectl("-n", self.namespace, "rollout", "status", "deployment/invoicetron", "--timeout=120s")

    def objects(self) -> list[str]:
        """Kind and name of every object of the namespace that a person or the program made."""
        kinds = (
            "deployments,statefulsets,services,secrets,configmaps,cronjobs,pvc,httproutes,resourcequotas,limitranges"
        )
        listed = self.world.kubectl("-n", self.namespace, "get", kinds, "-o", "name", "--ignore-not-found")
        return sorted(name for name in listed.split() if not name.endswith("/kube-root-ca.crt"))

    def _get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.world.kubectl("-n", self.namespace, "get", kind, name, "-o", "json"))
        return found

    def _container(self) -> dict[str, Any]:
        container: dict[str, Any] = self._get("deployment", "invoicetron")["spec"]["template"]["spec"]["containers"][0]
        return container

    def _image(self) -> str:
        image: str = self._container()["image"]
        return image

    def _template_annotations(self, kind: str) -> dict[str, str]:
        name = "invoicetron-db" if kind == "statefulset" else "invoicetron"
        annotations: dict[str, str] = self._get(kind, name)["spec"]["template"]["metadata"].get("annotations", {})
        return annotations

    def _expect(self, kept: bool, broken: str) -> None:
        if not kept:
            raise LifeError(f"{self.stack}: {broken}")


def _listed(changes: dict[str, str]) -> str:
    return ", ".join(f"{name}: {op}" for name, op in sorted(changes.items()))
