"""The life of a stack, step by step, checked as a user would check it: for `make rehearse` and a rehearsal test.

Each step is a method. It returns what it saw, for its row in the table, and raises `LifecycleError` if the program does
not do what it promises.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rehearsal.engine import EngineError, Update
from rehearsal.homelab import HOSTNAMES, PIPELINE_IMAGE
from rehearsal.rehearsal import Rehearsal


class LifecycleError(Exception):
    """The program did not keep a promise; the message says which."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the table."""

    step: str
    result: str
    ok: bool
    seconds: float


def use_cloudnative_pg(rehearsal: Rehearsal, stack: str) -> None:
    """Sets the engine to CloudNativePG in the rehearsal's copy of a new stack's stack file."""
    # The URL in 1Password names the StatefulSet's host; without it, the program derives the URL from the password.
    rehearsal.program.run("config", "rm", "--stack", stack, "--path", "invoicetron:secrets.databaseUrl")
    rehearsal.configure(stack, "database.engine", "cloudnative-pg")


class Lifecycle:
    """The steps, in order, for one stack of one rehearsal."""

    def __init__(self, rehearsal: Rehearsal, stack: str, *, operated: bool = False, previewed: bool = True) -> None:
        """`operated`: CloudNativePG's operator runs the database. `previewed`: `up` and `destroy` preview first."""
        self.rehearsal, self.stack, self.operated = rehearsal, stack, operated
        self._options = () if previewed else ("--skip-preview",)
        self.namespace = f"invoicetron-{stack}"
        self.image = PIPELINE_IMAGE.format(stack=stack, tag="1a2b3c4d")

    def rows(self) -> Iterator[Row]:
        """Runs the steps and yields the row of each as it finishes; stops at the first failure."""
        steps: list[tuple[str, Callable[[], str]]] = [
            ("up from nothing", self.up_from_nothing),
            ("up again", self.up_again),
            ("the pipeline deploys, then a setting changes", self.deployed_then_configured),
            ("a Service and a policy edited by hand", self.edited_by_hand),
            ("the app's Deployment edited by hand", self.edited_app_by_hand),
            ("a secret changed in 1Password", self.secret_changed),
            ("destroy", self.destroyed),
        ]
        if self.stack == "prod":
            steps.insert(-1, ("destroy while protected", self.destroy_refused))
        for step, run in steps:
            started = time.monotonic()
            try:
                result, ok = run(), True
            except (LifecycleError, EngineError) as error:
                result, ok = str(error), False
            yield Row(step=step, result=result, ok=ok, seconds=time.monotonic() - started)
            if not ok:
                return

    def up_from_nothing(self) -> str:
        """Everything is created, and the database is ready."""
        self.rehearsal.program.init(self.stack)
        if self.operated:
            use_cloudnative_pg(self.rehearsal, self.stack)
        update = self._up()
        kind, ready = ("cluster", "readyInstances") if self.operated else ("statefulset", "readyReplicas")
        self._expect(self._get(kind, "invoicetron-db")["status"].get(ready, 0) > 0, "database not ready")
        return f"{update.counts['create']} resources created, the database is ready"

    def up_again(self) -> str:
        """Nothing changes."""
        changes = self._up().changes
        self._expect(not changes, f"a second up changed {changes}")
        return "nothing changed"

    def deployed_then_configured(self) -> str:
        """The pipeline's `kubectl set image`, then an `up` with other settings: the image stays."""
        self.deploy(self.image)
        hostname = HOSTNAMES[self.stack]
        self.rehearsal.configure(self.stack, "access.hostname", hostname)
        self.rehearsal.configure(self.stack, "app.egress[0]", "api.example.com")
        self._up()
        self._expect(self.image_running() == self.image, f"the pipeline's image became {self.image_running()}")
        origins = {one["name"]: one.get("value") for one in self._container()["env"]}["ADDITIONAL_TRUSTED_ORIGINS"]
        self._expect(f"https://{hostname}" in str(origins), f"the trusted origins are still {origins}")
        self.rehearsal.kubectl("-n", self.namespace, "rollout", "status", "deployment/invoicetron", "--timeout=120s")
        return "image kept, new hostname in route and trusted origins"

    def edited_by_hand(self) -> str:
        """Somebody points the Service and the app's network policy elsewhere; the next up points them back."""
        self._patch("service", "/spec/ports/0/targetPort", 9999)
        # `up` has updated this policy since creating it; only then does the program own its fields.
        self._patch("ciliumnetworkpolicy", "/spec/endpointSelector/matchLabels/app", "another")
        self._up()
        selected = self._get("ciliumnetworkpolicy", "invoicetron")["spec"]["endpointSelector"]["matchLabels"]["app"]
        self._expect(selected == "invoicetron", f"the policy is still that of {selected}")
        port = self._get("service", "invoicetron")["spec"]["ports"][0]["targetPort"]
        self._expect(port == "http", f"the Service still points to {port}")
        return "the Service's port and the policy are what the program says again"

    def edited_app_by_hand(self) -> str:
        """The app's Deployment is shared with its pipeline: `up` refuses somebody else's edit and names the editor."""
        self._patch("deployment", "/spec/template/spec/containers/0/readinessProbe/httpGet/path", "/nonsense")
        try:
            # The preview is what refuses: an `up` without one takes over what kubectl has edited.
            self.rehearsal.program.up(self.stack)
        except EngineError as error:
            self._expect("kubectl-patch" in str(error), f"the up failed for another reason:\n{error}")
        else:
            raise LifecycleError(f"{self.stack}: the up did not notice")
        self._expect(self.image_running() == self.image, f"the pipeline's image became {self.image_running()}")
        # The runbook's way out: make the API server forget that editor, and run `up` again.
        managers = self._get("deployment", "invoicetron", "--show-managed-fields")["metadata"]["managedFields"]
        (editor,) = [index for index, one in enumerate(managers) if one["manager"] == "kubectl-patch"]
        forget = json.dumps([{"op": "remove", "path": f"/metadata/managedFields/{editor}"}])
        self.rehearsal.kubectl("-n", self.namespace, "patch", "deployment", "invoicetron", "--type=json", "-p", forget)
        self._up()
        self._expect(self.image_running() == self.image, f"the pipeline's image became {self.image_running()}")
        healed = self._container()["readinessProbe"]["httpGet"]["path"]
        self._expect(healed == "/api/health", f"the probe's path is still {healed}")
        return "refused with the editor's name; healed as the runbook says, image kept"

    def secret_changed(self) -> str:
        """A new password in 1Password reaches the Secret; the database and the app are rolled.

        CloudNativePG sets the password in the role and does not roll the database.
        """
        rolled = ["deployment"] if self.operated else ["statefulset", "deployment"]
        before = {kind: self._template_annotations(kind) for kind in rolled}
        self.rehearsal.onepassword.rotate(self.stack)
        self._up()
        for kind in rolled:
            self._expect(self._template_annotations(kind) != before[kind], f"the {kind}'s pods were not rolled")
        self._expect(self.image_running() == self.image, f"the pipeline's image became {self.image_running()}")
        return f"secrets changed, {'app' if self.operated else 'database and app'} rolled, image kept"

    def destroy_refused(self) -> str:
        """prod protects its data: `destroy` refuses and touches nothing, with and without a preview."""
        before = self.objects()
        for options in ((), ("--skip-preview",)):
            try:
                self.rehearsal.program.destroy(self.stack, *options)
            except EngineError as error:
                self._expect("protect" in str(error), f"destroy failed for another reason:\n{error}")
            else:
                raise LifecycleError("destroy went through")
            self._expect(self.objects() == before, "something was still deleted")
        return "refused, everything is still there"

    def destroyed(self) -> str:
        """Nothing is left (prod: after a user has removed the protection)."""
        if self.stack == "prod":
            self.rehearsal.program.run("state", "unprotect", "--all", "--yes", "--stack", self.stack)
        update = self.rehearsal.program.destroy(self.stack, *self._options)
        self._expect(not self.objects(), f"left behind: {self.objects()}")
        self._expect(
            not self.rehearsal.program.export(self.stack)["deployment"].get("resources"), "resources left in state"
        )
        return f"{update.counts['delete']} resources deleted, nothing left"

    def _up(self) -> Update:
        return self.rehearsal.program.up(self.stack, *self._options)

    def deploy(self, image: str) -> None:
        """Deploys `image` as the app's pipeline does."""
        target = ["-n", self.namespace, "set", "image", "deployment/invoicetron", f"invoicetron={image}"]
        self.rehearsal.kubectl(*target, "--field-manager=gitlab-ci")
        self.rehearsal.kubectl("-n", self.namespace, "rollout", "status", "deployment/invoicetron", "--timeout=120s")

    def objects(self) -> list[str]:
        """Kind and name of every object in the namespace that the program or a user made."""
        kinds = (
            "deployments,statefulsets,services,secrets,configmaps,cronjobs,pvc,httproutes,resourcequotas,limitranges"
        )
        listed = self.rehearsal.kubectl("-n", self.namespace, "get", kinds, "-o", "name", "--ignore-not-found")
        return sorted(name for name in listed.split() if not name.endswith("/kube-root-ca.crt"))

    def _get(self, *arguments: str) -> dict[str, Any]:
        return self.rehearsal.get(*arguments, namespace=self.namespace)

    def _patch(self, kind: str, path: str, value: object) -> None:
        """Edits the object `invoicetron` as a user's `kubectl edit` does."""
        patch = json.dumps([{"op": "replace", "path": path, "value": value}])
        self.rehearsal.kubectl("-n", self.namespace, "patch", kind, "invoicetron", "--type=json", "-p", patch)

    def _container(self) -> dict[str, Any]:
        container: dict[str, Any] = self._get("deployment", "invoicetron")["spec"]["template"]["spec"]["containers"][0]
        return container

    def image_running(self) -> str:
        """The image of the app's container."""
        image: str = self._container()["image"]
        return image

    def _template_annotations(self, kind: str) -> dict[str, str]:
        name = "invoicetron-db" if kind == "statefulset" else "invoicetron"
        annotations: dict[str, str] = self._get(kind, name)["spec"]["template"]["metadata"].get("annotations", {})
        return annotations

    def _expect(self, kept: bool, broken: str) -> None:
        if not kept:
            raise LifecycleError(f"{self.stack}: {broken}")
