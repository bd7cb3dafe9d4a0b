"""GitLab's REST API v4 in memory, with GitLab's own refusals: the endpoints that the program uses."""

from rehearsal.emulators.gitlab.app import DEVELOPER, MAINTAINER, GitLab
from rehearsal.emulators.gitlab.project import Project

__all__ = ["DEVELOPER", "MAINTAINER", "GitLab", "Project"]
