"""``jax231 kernels``: the compiled kernels of this machine, shown, compiled ahead or removed."""

import sys
from typing import TYPE_CHECKING

import msgspec
from cyclopts import App
from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from jax231.kernels.native import Status

HELP = """\
Show, build or remove the compiled kernels.

Convolutions, pooling, recurrences, batch norm and nearest neighbours have kernels in C++. The system's compiler \
tunes them to this processor when the first is used, once; they are kept in the user's cache. Without a compiler, and \
on other devices, the same functions run as plain JAX.

JAX231_KERNELS=off does without them, and JAX231_KERNELS=require makes an error of their absence. CXX names a \
compiler, XDG_CACHE_HOME another folder for the cache."""

kernels = App(name="kernels", help=HELP, help_format="plaintext")


@kernels.default
def show(*, json: bool = False) -> None:
    """Show whether the compiled kernels are used, why, and what they were compiled by.

    Parameters
    ----------
    json
        Print JSON.
    """
    from jax231.kernels import native

    _show(native.status(), json=json)


@kernels.command
def build() -> int:
    """Compile the kernels ahead of their first use. Exit code 1, with the compiler's output, where that fails."""
    from jax231.kernels import native

    try:
        library = native.build()
    except native.KernelError as error:
        sys.stderr.write(f"{error.output}\n" if error.output else "")
        print(f"jax231: kernels build: {error}", file=sys.stderr)
        return 1
    Console().print(f"{library.path} ({library.seconds:.0f} s to compile)", soft_wrap=True)
    found = native.status()
    if not found.active:
        print(f"jax231: the kernels are compiled but not used: {found.reason}", file=sys.stderr)
    return 0 if found.active else 1


@kernels.command
def clear() -> None:
    """Remove all compiled kernels from the user's cache; the next use compiles them again."""
    from jax231.kernels import native

    count = native.clear()
    Console().print(f"{count} {'build' if count == 1 else 'builds'} removed")


def _show(status: "Status", *, json: bool) -> None:
    if json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(status._asdict(), enc_hook=str)).decode() + "\n")
        return
    table = Table(
        title="Compiled kernels", box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False,
        show_header=False,
    )  # fmt: skip
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    rows = {
        "active": "yes" if status.active else "no",
        "why": status.reason,
        "processor": status.processor,
        "compiler": status.compiler,
        "flags": " ".join(status.flags),
        "library": status.library,
        "compiled in": None if status.seconds is None else f"{status.seconds:.1f} s",
        "kernels": "\n".join(status.kernels),
    }
    for heading, value in rows.items():
        if value:
            table.add_row(heading, str(value))
    Console().print(table)
