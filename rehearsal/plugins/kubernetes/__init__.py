"""A stand-in for the pulumi-kubernetes plugin: what it does to a cluster, what it answers the engine, where it fails.

Like the real plugin since 4.29, it creates client-side and updates server-side. It follows the real plugin's code and
measurements of it, traps included. It refuses with an error, rather than ignores, what it lacks: client-side apply,
upserts of existing objects, rendering to YAML, `*Patch` resources, and the kinds of `provider.REFUSED_KINDS`. It has no
functions (Helm, Kustomize, YAML), and does not show the progress that the real plugin shows while it waits.
"""
