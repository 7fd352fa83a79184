"""The compiled kernels: made when the first is wanted, loaded once a process, registered with XLA.

The environment variable JAX231_KERNELS switches them: `off` leaves the plain JAX forms, and `require` makes an error of
whatever stands against them. Without it they are used where they can be; where they cannot, one line says why.
"""

import ctypes
import os
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jax231.core import processor
from jax231.core.checks import require
from jax231.kernels import library, toolchain
from jax231.kernels.toolchain import KernelError


class Status(NamedTuple):
    """Whether the compiled kernels are used in this process, and why; what is not known is empty."""

    active: bool
    reason: str
    processor: str
    compiler: str = ""
    flags: tuple[str, ...] = ()
    library: Path | None = None
    seconds: float | None = None
    kernels: tuple[str, ...] = ()


_lock = threading.RLock()
_settled: Status | None = None
_libraries: dict[Path, ctypes.CDLL] = {}


def active() -> bool:
    """Whether the compiled kernels can be used here; compiles and loads them on the first call.

    Raises:    ValueError for an unknown JAX231_KERNELS; KernelError or OSError where it is `require` and they cannot.
    """
    global _settled
    with _lock:
        if _settled is None:
            _settled = _settle()
        return _settled.active


def status() -> Status:
    """What `active` has found, or would find without compiling anything."""
    global _settled
    with _lock:
        if _settled is not None:
            return _settled
        if _mode() == "off":
            return _off()
        try:
            recipe = toolchain.recipe()
            found, failed = library.find(recipe), library.failure(recipe)
            if found is None:
                why = failed or "not compiled yet: the first use does it, or `jax231 kernels build`"
                return _status(recipe, False, str(why))
            _settled = _load(recipe, found)
        except (OSError, RuntimeError) as error:
            return Status(False, _why(error), processor.name())
        return _settled


def target(kernel: str) -> str:
    """The name under which XLA knows `kernel`."""
    return f"jax231_{kernel}"


def workspace(kernel: str, numbers: np.ndarray, itemsize: int) -> int:
    """Bytes that `kernel` works in, as the loaded library's function ``jax231_<kernel>_workspace`` says."""
    path = status().library
    assert path is not None, "the kernels are not active"
    measure = _libraries[path][f"jax231_{kernel}_workspace"]
    measure.restype, measure.argtypes = ctypes.c_int64, [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    return measure(numbers.ctypes.data, len(numbers), itemsize)


def build() -> library.Library:
    """Compile the kernels ahead of their first use, where the cache does not hold them already.

    Raises:    KernelError with the compiler's `output`, OSError where the cache cannot be written.
    """
    return library.obtain(toolchain.recipe(), again=True)


def clear() -> int:
    """Remove all compiled kernels from the user's cache; returns how many builds there were."""
    return library.clear()


def _mode() -> str:
    mode = os.environ.get("JAX231_KERNELS") or "on"
    require(mode in ("on", "off", "require"), "JAX231_KERNELS", "on, off or require", JAX231_KERNELS=mode)
    return mode


def _settle() -> Status:
    mode = _mode()
    if mode == "off":
        return _off()
    try:
        recipe = toolchain.recipe()
        return _load(recipe, library.obtain(recipe))
    except (OSError, RuntimeError) as error:  # RuntimeError: KernelError, or a user without a home
        if mode == "require":
            raise
        library.say(f"the slower plain JAX kernels are used: {_why(error)} (`jax231 kernels` says more)")
        return Status(False, _why(error), processor.name())


def _load(recipe: toolchain.Recipe, found: library.Library) -> Status:
    """Load the library and register every kernel that it lists under its name."""
    import jax

    try:
        loaded = ctypes.CDLL(str(found.path))
    except OSError as error:
        raise KernelError(f"the compiled library does not load: {error}") from error
    loaded.jax231_kernel_name.restype = ctypes.c_char_p
    loaded.jax231_kernel_handler.restype = ctypes.c_void_p
    capsule = ctypes.pythonapi.PyCapsule_New
    capsule.restype, capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    names = []
    for i in range(loaded.jax231_kernel_count()):
        names.append(loaded.jax231_kernel_name(i).decode())
        jax.ffi.register_ffi_target(
            target(names[-1]), capsule(loaded.jax231_kernel_handler(i), None, None), platform="cpu"
        )
    _libraries[found.path] = loaded
    known = _status(recipe, True, "compiled for this processor, used on the CPU")
    return known._replace(library=found.path, seconds=found.seconds, kernels=tuple(sorted(names)))


def _status(recipe: toolchain.Recipe, active: bool, reason: str) -> Status:
    compiler = f"{' '.join(recipe.compiler)} ({recipe.version})"
    return Status(active, reason, processor.name(), compiler, recipe.flags)


def _off() -> Status:
    return Status(False, "switched off by JAX231_KERNELS=off", processor.name())


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror} (XDG_CACHE_HOME names another folder for the cache)"
    return str(error)
