"""GitLab's REST API v4 in memory, with GitLab's own refusals: the endpoints that the program uses."""

from rehearsal.vendors.gitlab.app import DEVELOPER, MAINTAINER, REPORTER, GitLab
from rehearsal.vendors.gitlab.project import Project

__all__ = ["DEVELOPER", "MAINTAINER", "REPORTER", "GitLab", "Project"]
