"""The stack prod as it is when nothing is left to do: brought up once, deployed into, backed up, mirrored."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ops.clients import dynamic_client
from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.pipeline import AppRepository
from rehearsal.toolchain import Tools
from rehearsal.vendors.edge import Edge, Gateway, transport
from tests.database.invoices import fill
from tests.rehearsal.cleanup import rehearsed
from tests.rehearsal.verify.live import ADDED_FIELD, ADDED_SECRET, NAMESPACE, STACK, Live
from tests.stacks import PROD


@pytest.fixture(scope="package")
def live(tools: Tools, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One system for all files of this folder, which one worker runs one after the other (tests/scheduling.py).

    A test that breaks it repairs it. Meanwhile the process runs in the program's directory, with its environment.
    """
    directory = tmp_path_factory.mktemp("verify")
    with ExitStack() as stack:
        one = stack.enter_context(rehearsed(tools, control_plane, directory / "rehearsal"))
        cluster = dynamic_client(one.client)
        gateway, edge = Gateway(cluster), Edge(cluster, one.cloudflare)
        whole = Live(one, gateway, edge, stack.enter_context(transport(gateway, edge)))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in os.environ.keys() - one.program.environment.keys():
            patch.delenv(name)
        for name, value in one.program.environment.items():
            patch.setenv(name, value)
        patch.chdir(one.program.directory)
        one.program.init(STACK)
        one.configure(STACK, "cluster.apiUrl", one.control_plane.url)
        one.onepassword.add_field("Invoicetron Prod", ADDED_FIELD, "the-first-api-key")
        one.configure(STACK, f"app.secrets.{ADDED_SECRET}", f"op://Kubernetes/Invoicetron Prod/{ADDED_FIELD}")
        in_two_months = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=60)
        one.configure(STACK, "delivery.pullCredentials.expires", in_two_months.isoformat())
        one.program.up(STACK, "--skip-preview")
        # Before the deployment, which backs the database up: with an empty one it tries three times, for half a minute.
        fill(control_plane.pods.database(NAMESPACE), count=50)
        whole.deploy(AppRepository(directory / "app", branch="main"))
        for cron_job in (PROD.backup, PROD.drill):
            whole.run(cron_job, f"{cron_job}-first")
            whole.ended(f"{cron_job}-first", "complete")
        whole.project.mirrors.push()
        whole.expect({})
        yield whole
