"""Cloudflare's SDK, loaded piece by piece: `from components.cloudflare_sdk import cloudflare`."""

from __future__ import annotations

from components.lazy_sdk import load_lazily

load_lazily("pulumi_cloudflare")

import pulumi_cloudflare as cloudflare  # noqa: E402 - now it finds the lazy one

__all__ = ["cloudflare"]
