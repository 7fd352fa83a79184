"""Names of a package that load on first use (PEP 562), so that the command line starts without importing JAX."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence


def attach(
    package: str, *, modules: Sequence[str] = (), names: Mapping[str, str] | None = None
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """The ``__getattr__``, ``__dir__`` and ``__all__`` of a package whose contents load on first use.

    `modules` are submodules; `names` maps each public name to the submodule that defines it.
    """
    owners = dict(names or {})
    public = sorted({*modules, *owners})

    def load(name: str) -> object:
        if name in owners:
            value = getattr(importlib.import_module(f"{package}.{owners[name]}"), name)
            setattr(sys.modules[package], name, value)  # where a submodule has this name, its import has put it there
            return value
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return load, lambda: list(public), public
