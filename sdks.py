"""The generated SDKs, imported on first use and loaded module by module: `from sdks import kubernetes`.

The `__init__` of such an SDK imports each of its resources and functions: hundreds of modules, of which this program
uses a dozen (docs/measurements.md has the cost). The package that replaces the SDK loads each resource or function from
its own module when something first accesses it. Type checkers read the real SDK.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pulumi

if TYPE_CHECKING:
    import pulumi_cloudflare as cloudflare
    import pulumi_gitlab as gitlab
    import pulumi_kubernetes as kubernetes

__all__ = ["cloudflare", "gitlab", "kubernetes", "plugin_options"]

_GROUPS: Final = ("admissionregistration", "apps", "batch", "core", "meta", "policy", "rbac")
_LAZY: Final = {
    "cloudflare": ("pulumi_cloudflare",),
    "gitlab": ("pulumi_gitlab",),
    # Its own __init__ loads an API group on first access, but then the whole group.
    "kubernetes": tuple(f"pulumi_kubernetes.{group}.v1" for group in _GROUPS),
}
"""The packages of each SDK that are loaded lazily."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for package in _LAZY[name]:
        load_lazily(package)
    module = importlib.import_module(f"pulumi_{name}")
    globals()[name] = module
    return module


def plugin_options(name: str) -> pulumi.ResourceOptions:
    """What the SDK's classes add to the options of every resource: the plugin's version and download URL."""
    for package in _LAZY[name]:
        load_lazily(package)
    options: pulumi.ResourceOptions = importlib.import_module(f"pulumi_{name}._utilities").get_resource_opts_defaults()
    return options


def load_lazily(package: str) -> None:
    """Installs the lazy package. Call it before the first `import` of `package`; after that it does nothing.

    It does not import the parent package.
    """
    top, *rest = package.split(".")
    spec = importlib.util.find_spec(top)
    if package in sys.modules or spec is None or spec.submodule_search_locations is None:
        return
    path = Path(spec.submodule_search_locations[0], *rest)
    spec = importlib.util.spec_from_file_location(package, path / "__init__.py", submodule_search_locations=[str(path)])
    assert spec is not None  # noqa: S101 - a file that ends in .py has a loader
    module = importlib.util.module_from_spec(spec)
    vars(module)["__getattr__"] = lambda name: _load(package, path, name)
    sys.modules[package] = module


def _load(package: str, path: Path, name: str) -> Any:
    """Loads `name` from the module that defines it.

    `Secret` is in `Secret`, `ProjectVariable` in `project_variable`, `get_project_output` in `get_project`. All
    `...Args` are in `_inputs`; `outputs` is a module.
    """
    snake_case = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().removesuffix("_output")
    own = name if (path / f"{name}.py").exists() else snake_case
    try:
        module = importlib.import_module(f"{package}.{'_inputs' if name.endswith('Args') else own}")
        if name == own and name not in module.__all__:
            return module
        # As in the SDK's `__init__`: a class or function replaces the module of the same name.
        exported = {each: getattr(module, each) for each in module.__all__}
        vars(sys.modules[package]).update(exported)
        return exported[name]
    except (ImportError, AttributeError, KeyError) as error:
        raise AttributeError(f"{package} has no {name} where its other names are") from error
