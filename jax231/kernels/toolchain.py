"""The C++ compiler of this machine, and everything that what it makes depends on."""

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from jax231.core import processor

COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-ffp-contract=fast")

OWN_RUNTIME = ("-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL")
"""Another libstdc++ may be in the process already (conda's is), older than the compiler's; so bring our own along."""


class KernelError(RuntimeError):
    """Why there are no compiled kernels, in one line; `output` is what the compiler printed."""

    def __init__(self, reason: str, output: str = ""):
        super().__init__(reason)
        self.output = output

    @property
    def lasting(self) -> bool:
        """Whether the compiler refused a line of the sources; it will again. (One that was killed may not be.)"""
        return re.search(r":\d+:\d+: (fatal )?error: ", self.output) is not None


class Recipe(NamedTuple):
    """What is compiled, by what and how; equal digests, equal libraries."""

    sources: tuple[Path, ...]
    compiler: tuple[str, ...]
    version: str
    flags: tuple[str, ...]
    digest: str


def recipe() -> Recipe:
    """How the kernels are compiled here.

    The environment variable CXX names a compiler, JAX231_KERNELS_FLAGS adds flags, and JAX231_KERNELS_SOURCES names
    another folder of sources.

    Raises:    KernelError where there is no compiler.
    """
    if sys.platform not in ("linux", "darwin"):
        raise KernelError(f"no compiled kernels for {platform.system()}")
    folder = Path(os.environ.get("JAX231_KERNELS_SOURCES") or Path(__file__).parent / "csrc")
    files = sorted(path for path in folder.iterdir() if path.suffix in (".cc", ".h"))
    compiler = _compiler()
    version = _version(compiler)
    tuned = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
    flags = (*FLAGS, tuned, *shlex.split(os.environ.get("JAX231_KERNELS_FLAGS", "")))

    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\n{file.stat().st_size}\n".encode() + file.read_bytes())
    facts = (*compiler, version, *flags, processor.identity(), *platform.libc_ver(), metadata.version("jaxlib"))
    digest.update("\n".join(facts).encode())
    sources = tuple(file for file in files if file.suffix == ".cc")
    return Recipe(sources, compiler, version.partition("\n")[0], flags, digest.hexdigest()[:20])


def compile_library(recipe: Recipe, target: Path) -> None:
    """Compile every source by a process of its own, as many at once as there are cores, and link them to `target`.

    Raises:    KernelError with the compiler's output.
    """
    import jax

    command = (*recipe.compiler, *recipe.flags, "-isystem", jax.ffi.include_dir())
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch, ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = [Path(scratch, f"{source.stem}.o") for source in recipe.sources]
        steps = zip(objects, recipe.sources, strict=True)
        running = [pool.submit(_run, [*command, "-c", "-o", made, source], source.name) for made, source in steps]
        try:
            for future in running:
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)
        link = [*command, "-shared", "-o", target, *objects]
        try:
            _run([*link, *(OWN_RUNTIME if sys.platform == "linux" else ())], "the library")
        except KernelError:  # not every compiler comes with its runtime as an archive
            _run(link, "the library")


def _compiler() -> tuple[str, ...]:
    named = os.environ.get("CXX")
    candidates = [shlex.split(named)] if named else [[name] for name in COMPILERS]
    for words in candidates:
        if words and (path := shutil.which(words[0])):
            return (path, *words[1:])
    raise KernelError(f"no C++ compiler found (looked for {f'CXX={named}' if named else ', '.join(COMPILERS)})")


def _version(compiler: tuple[str, ...]) -> str:
    try:
        return subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise KernelError(f"the compiler {shlex.join(compiler)} does not run ({error})") from error


def _run(command: Sequence[str | Path], what: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode:
        lines = done.stdout.splitlines() or [f"exit status {done.returncode}"]
        told = next((line for line in lines if "error" in line), lines[-1])
        output = f"{shlex.join(map(str, command))}\n{done.stdout}"
        raise KernelError(f"{Path(command[0]).name} could not make {what}: {told.strip()[:200]}", output)
