"""A stand-in for the pulumi-kubernetes plugin: what it does to a cluster, what it answers the engine, where it fails.

Like the real one since 4.29 it creates client-side and updates server-side. It follows the real one's code and the
measurements made with it, traps included. Left out, and refused in words rather than ignored: client-side apply,
upserts of existing objects, rendering to YAML, `*Patch` resources, and the kinds of `provider.REFUSED_KINDS`; there are
no functions (Helm, Kustomize, YAML). The progress that the real plugin shows while it waits is not shown.
"""
