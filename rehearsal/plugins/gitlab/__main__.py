"""`python -m rehearsal.plugins.gitlab`: prints the port and serves until the engine stops it."""

from rehearsal.plugins.base import serve
from rehearsal.plugins.gitlab.plugin import GitLabPlugin

if __name__ == "__main__":
    serve(GitLabPlugin())
