"""The plugin: type tokens to kinds, function tokens to functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

from rehearsal.plugins.gitlab import delivery, infrastructure, repository
from rehearsal.plugins.gitlab.client import Client, refusals
from rehearsal.plugins.rest import ResourceKind, RestPlugin
from rehearsal.plugins.values import Properties


class GitLabPlugin(RestPlugin):
    """Stand-in for `pulumi-resource-gitlab`."""

    version = "10.4.0"
    _client: Client

    def configure(self, config: Properties) -> None:
        self._client = Client(config)
        if config.get("earlyAuthCheck", True) not in (False, "false"):
            self._client.check_authentication()

    @cached_property
    def kinds(self) -> Mapping[str, ResourceKind]:  # type: ignore[override] # a property in place of the base's attribute
        client = self._client
        return {
            "gitlab:index/projectEnvironment:ProjectEnvironment": delivery.Environment(client),
            "gitlab:index/projectVariable:ProjectVariable": delivery.Variable(client),
            "gitlab:index/projectDeployToken:ProjectDeployToken": delivery.DeployToken(client),
            "gitlab:index/projectPushMirror:ProjectPushMirror": repository.PushMirror(client),
            "gitlab:index/branch:Branch": repository.Branch(client),
            "gitlab:index/branchProtection:BranchProtection": repository.BranchProtection(client),
            "gitlab:index/pipelineSchedule:PipelineSchedule": infrastructure.PipelineSchedule(client),
            "gitlab:index/tagProtection:TagProtection": infrastructure.TagProtection(client),
            "gitlab:index/projectProtectedEnvironment:ProjectProtectedEnvironment": repository.ProtectedEnvironment(
                client
            ),
        }

    @cached_property
    def functions(self) -> Mapping[str, Callable[[Properties], Properties]]:  # type: ignore[override] # as above
        return {
            "gitlab:index/getMetadata:getMetadata": self._metadata,
            "gitlab:index/getProject:getProject": self._project,
            "gitlab:index/getProjectBranches:getProjectBranches": self._branches,
            "gitlab:index/getProjectEnvironments:getProjectEnvironments": self._environments,
            "gitlab:index/getProjectMirrorPublicKey:getProjectMirrorPublicKey": self._mirror_key,
            "gitlab:index/getProjectProtectedBranches:getProjectProtectedBranches": self._protected_branches,
            "gitlab:index/getPipelineSchedules:getPipelineSchedules": self._schedules,
            "gitlab:index/getProjectProtectedTags:getProjectProtectedTags": self._protected_tags,
            "gitlab:index/getProjectVariables:getProjectVariables": self._variables,
        }

    def _metadata(self, _args: Properties) -> Properties:
        with refusals("the metadata of the instance"):
            metadata = self._client.connection.http_get("/metadata")
        return {"id": "1", **metadata} if isinstance(metadata, dict) else {}

    def _project(self, args: Properties) -> Properties:
        key = args.get("id") or args["pathWithNamespace"]
        with refusals(f"the project {key}"):
            project = self._client.connection.projects.get(key)
        return {
            "id": str(project.id),
            "pathWithNamespace": project.path_with_namespace,
            "defaultBranch": project.default_branch,
            "webUrl": project.web_url,
            "containerRegistryImagePrefix": project.container_registry_image_prefix,
        }

    def _environments(self, args: Properties) -> Properties:
        wanted = {"name": args["name"]} if "name" in args else {}
        with refusals("the environments"):
            found = self._client.project(args["project"]).environments.list(get_all=True, **wanted)
        shown = [
            {
                "id": item.id,
                "name": item.name,
                "slug": item.slug,
                "state": item.state,
                "tier": item.tier,
                "externalUrl": item.external_url or "",
                "description": item.description or "",
            }
            for item in found
        ]
        return {"id": args["project"], "project": args["project"], "environments": shown}

    def _variables(self, args: Properties) -> Properties:
        # Of every scope: the provider leaves the filter to GitLab, whose list of variables has none.
        with refusals("the CI variables"):
            found = self._client.project(args["project"]).variables.list(get_all=True)
        shown = [
            {
                "project": args["project"],
                "key": item.key,
                "value": item.value,
                "environmentScope": item.environment_scope,
                "masked": item.masked,
                "protected": item.protected,
                "raw": item.raw,
                "variableType": item.variable_type,
                "description": item.description or "",
            }
            for item in found
        ]
        return {"id": args["project"], "project": args["project"], "variables": shown}

    def _branches(self, args: Properties) -> Properties:
        with refusals("the branches"):
            found = self._client.project(args["project"]).branches.list(get_all=True)
        shown = [{"name": item.name, "default": item.default, "protected": item.protected} for item in found]
        return {"id": args["project"], "project": args["project"], "branches": shown}

    def _protected_branches(self, args: Properties) -> Properties:
        with refusals("the protected branches"):
            found = self._client.project(args["projectId"]).protectedbranches.list(get_all=True)
        shown = [
            {
                "id": item.attributes["id"],
                "name": item.name,
                "allowForcePush": item.allow_force_push,
                "codeOwnerApprovalRequired": item.code_owner_approval_required,
                "pushAccessLevels": [_access_level(level) for level in item.push_access_levels],
                "mergeAccessLevels": [_access_level(level) for level in item.merge_access_levels],
                # Only an Enterprise Edition has these.
                "unprotectAccessLevels": [
                    _access_level(level) for level in item.attributes.get("unprotect_access_levels", [])
                ],
            }
            for item in found
        ]
        return {"id": 1, "projectId": args["projectId"], "protectedBranches": shown}

    def _schedules(self, args: Properties) -> Properties:
        with refusals("the pipeline schedules"):
            found = self._client.project(args["project"]).pipelineschedules.list(get_all=True)
        shown = [
            {
                "id": item.id,
                "description": item.description,
                "ref": item.ref,
                "cron": item.cron,
                "cronTimezone": item.cron_timezone,
                "active": item.active,
                "nextRunAt": item.next_run_at,
                "createdAt": item.created_at,
                "updatedAt": item.updated_at,
                "owner": {"id": item.owner["id"], "username": item.owner["username"], "name": item.owner["name"]},
            }
            for item in found
        ]
        return {"id": args["project"], "project": args["project"], "pipelineSchedules": shown}

    def _protected_tags(self, args: Properties) -> Properties:
        with refusals("the protected tags"):
            found = self._client.project(args["project"]).protectedtags.list(get_all=True)
        shown = [
            {
                "tag": item.name,
                "createAccessLevels": [
                    {"id": level["id"], **_access_level(level)} for level in item.create_access_levels
                ],
            }
            for item in found
        ]
        return {"id": args["project"], "project": args["project"], "protectedTags": shown}

    def _mirror_key(self, args: Properties) -> Properties:
        path = f"/projects/{self._client.project(args['projectId']).encoded_id}/remote_mirrors/{args['mirrorId']}"
        with refusals(f"the public key of the push mirror {args['mirrorId']}"):
            answer = self._client.connection.http_get(f"{path}/public_key")
        key = answer["public_key"] if isinstance(answer, dict) else ""
        return {"id": f"{args['projectId']}:{args['mirrorId']}", **args, "publicKey": key}


def _access_level(level: Properties) -> Properties:
    """Who may act on a protected object, as the provider shows it: without the ids that GitLab leaves empty."""
    ids = {"userId": "user_id", "groupId": "group_id", "deployKeyId": "deploy_key_id"}
    return {
        "accessLevel": repository.LEVEL_NAMES[level["access_level"]],
        "accessLevelDescription": level["access_level_description"],
        **{name: level[attribute] for name, attribute in ids.items() if level.get(attribute)},
    }
