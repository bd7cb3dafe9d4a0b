"""GitLab's SDK, loaded piece by piece: `from components.gitlab_sdk import gitlab`."""

from __future__ import annotations

from components.lazy_sdk import load_lazily

load_lazily("pulumi_gitlab")

import pulumi_gitlab as gitlab  # noqa: E402 - now it finds the lazy one

__all__ = ["gitlab"]
