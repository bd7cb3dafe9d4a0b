"""Makes `import` of a generated SDK load only what is used of it.

The `__init__` of such an SDK imports each of its resources and functions, hundreds of modules of which this program
uses a dozen: a sixth of dev's start for pulumi_gitlab (`make bench`). The package that takes the SDK's place loads each
from its own module when it is first named. Type checkers read the SDK itself.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from typing import Any


def load_lazily(package: str) -> None:
    """Has to come before the first `import` of the package; after it, nothing changes."""
    if package in sys.modules or (spec := importlib.util.find_spec(package)) is None:
        return
    module = importlib.util.module_from_spec(spec)
    vars(module)["__getattr__"] = lambda name: _load(package, name)
    sys.modules[package] = module


def _load(package: str, name: str) -> Any:
    """`ProjectVariable` is in `project_variable`, `get_project_output` in `get_project`, all `...Args` in `_inputs`."""
    snake_case = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().removesuffix("_output")
    try:
        module = importlib.import_module(f"{package}.{'_inputs' if name.endswith('Args') else snake_case}")
        # As the SDK's `__init__` does; a function hides the module of its name again.
        exported = {each: getattr(module, each) for each in module.__all__}
        vars(sys.modules[package]).update(exported)
        return exported[name]
    except (ImportError, AttributeError, KeyError) as error:
        raise AttributeError(f"{package} has no {name} where its other names are") from error
