"""Every family of kernels over the edges of its shapes, compiled with AddressSanitizer and UndefinedBehaviorSanitizer.

    python -m tests.kernels.sanitizer [FAMILY ...]

The public functions are traced, with their derivatives and lanes, for the calls of kernels in them; every different
call then runs alone, so that each operand and result is an allocation of its own, with guards around it. A process in
which something is found ends there; the cases after it get another one.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax231 import functional
from jax231.kernels import toolchain

CHECKS = "address,alignment,bounds,integer-divide-by-zero,shift,signed-integer-overflow"
FLAGS = f"-O0 -g1 -fsanitize={CHECKS} -fno-sanitize-recover=all"
LANES = 2


class Finding(NamedTuple):
    """A case that did not end well, and what was said."""

    case: str
    report: str


class Case(NamedTuple):
    """Arrays of `shapes` through `run`, in every derivative and with lanes."""

    run: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    dtype: str = "float32"


# Families


def convolution() -> Iterator[Case]:
    table = [
        # image, window and channels, output channels, options
        ((1, 1, 1, 1), (1, 1, 1), 1, {}),
        ((2, 5, 7, 3), (3, 3, 3), 5, {}),
        ((1, 2, 3, 5), (4, 5, 5), 9, {"padding": 4, "stride": (3, 2)}),  # windows larger than the image
        ((0, 4, 4, 3), (3, 3, 3), 4, {}),
        ((1, 6, 5, 17), (3, 3, 1), 17, {"groups": 17}),
        ((2, 6, 7, 6), (2, 3, 3), 10, {"groups": 2, "dilation": (2, 1), "padding": "VALID"}),
        ((1, 1, 1, 33), (1, 1, 33), 31, {}),
        ((3, 4, 4, 16), (1, 1, 16), 8, {"stride": 2}),
        ((1, 9, 8, 3), (7, 7, 3), 16, {"stride": 2}),
        ((1, 1, 40, 2), (1, 9, 2), 19, {}),
        ((1, 40, 1, 2), (9, 1, 2), 3, {"stride": (4, 1)}),
        ((2, 7, 9, 8), (3, 3, 8), 24, {"dilation": 3}),
        ((1, 5, 5, 32), (3, 3, 32), 32, {}),
        ((1, 6, 6, 8), (3, 3, 1), 24, {"groups": 8, "stride": 2}),
        ((1, 3, 3, 13), (3, 3, 13), 1, {"padding": "VALID"}),
        ((1, 18, 19, 1), (5, 5, 1), 7, {"padding": ((0, 3), (4, 1))}),
        ((1, 4, 4, 40), (2, 2, 1), 40, {"groups": 40, "dilation": 2}),
        ((1, 4, 5, 70), (3, 3, 70), 65, {}),
        ((1, 12, 11, 23), (11, 11, 23), 16, {}),  # sums that no cut of the channels makes small
        ((1, 9, 9, 3), (31, 31, 3), 2, {"padding": 15}),
        ((2, 4, 4, 0), (3, 3, 0), 2, {}),
        ((2, 4, 4, 3), (3, 3, 3), 0, {}),
    ]
    for image, window, cout, options in table:

        def run(x, kernel, options=options):
            return functional.conv2d(x, kernel, **options)

        yield Case(run, (image, (*window, cout)))
    for image, window, cout, options in table:
        if not options.get("groups"):

            def run(y, kernel, options=options):
                return functional.conv2d_transpose(y, kernel, **options)

            n, h, w, _ = image
            yield Case(run, ((n, h, w, cout), (*window, cout)))


def pooling() -> Iterator[Case]:
    table = [
        ((1, 1, 1, 1), 1, None, "VALID"),
        ((2, 5, 7, 3), (2, 3), None, "VALID"),
        ((1, 3, 2, 5), (3, 2), (2, 3), 1),
        ((0, 4, 4, 3), 2, None, "VALID"),
        ((2, 7, 6, 17), 3, 2, "SAME"),
        ((1, 4, 4, 1), (4, 1), (1, 1), "VALID"),
        ((1, 9, 9, 33), 3, 3, 1),
        ((3, 2, 11, 8), (2, 5), (1, 2), "SAME"),
        ((1, 5, 5, 31), 5, 1, 2),
        ((1, 6, 1, 40), (2, 1), (3, 1), "VALID"),
        ((2, 4, 4, 0), 2, None, "VALID"),
    ]
    for image, window, stride, padding in table:
        options = {"window": window, "stride": stride, "padding": padding}

        def run(x, options=options):
            y, switches = functional.max_pool_with_switches(x, **options)
            back = functional.max_unpool(y, switches, x.shape)
            return functional.max_pool(x, **options), functional.avg_pool(x, **options), y, back

        yield Case(run, (image,))


def recurrence() -> Iterator[Case]:
    table = [
        # n, t, d, h, mask
        (1, 1, 1, 1, False),
        (2, 3, 5, 7, True),
        (0, 3, 2, 4, False),
        (3, 0, 2, 4, False),
        (5, 2, 1, 17, False),
        (7, 4, 33, 8, True),
        (16, 3, 3, 32, False),
        (1, 9, 4, 3, True),
    ]
    for n, t, d, h, masked in table:
        mask = jnp.arange(t) < jnp.arange(n)[:, None] % (t + 1) if masked else None

        def rnn(wx, wh, b, h0, xs, mask=mask):
            return functional.rnn({"wx": wx, "wh": wh, "b": b}, h0, xs, mask=mask)

        def lstm(wx, wh, b, h0, c0, xs, mask=mask):
            return functional.lstm({"wx": wx, "wh": wh, "b": b}, (h0, c0), xs, mask=mask)

        yield Case(rnn, ((d, h), (h, h), (h,), (n, h), (n, t, d)))
        yield Case(lstm, ((d, 4 * h), (h, 4 * h), (4 * h,), (n, h), (n, h), (n, t, d)))


def neighbors() -> Iterator[Case]:
    table = [
        # queries, points, d, k
        (1, 1, 1, 1),
        (3, 5, 7, 5),
        (0, 4, 3, 2),
        (2, 9, 0, 3),
        (17, 33, 19, 4),
        (5, 70, 65, 9),
        (33, 300, 4, 1),
    ]
    for queries, points, d, k in table:
        for metric in ("l2", "l1"):

            def run(x, y, k=k, metric=metric):
                labels = jnp.zeros(y.shape[0], jnp.int32)
                return functional.distances(x, y, metric), functional.knn_predict(y, labels, x, k, metric)

            yield Case(run, ((queries, d), (points, d)))


def normalization() -> Iterator[Case]:
    for shape in ((2, 1), (2, 3, 3, 5), (3, 1, 17), (2, 2, 2, 33), (130, 8), (1, 7, 1, 64)):
        for relu in (False, True):

            def run(x, scale, bias, mean, var, relu=relu):
                return functional.batch_norm_train(x, scale, bias, mean, var, relu=relu)

            yield Case(run, (shape, *[shape[-1:]] * 4))


FAMILIES: dict[str, Callable[[], Iterator[Case]]] = {
    family.__name__: family for family in (convolution, pooling, recurrence, neighbors, normalization)
}


# What is done with a case


def calls(case: Case) -> Iterator[tuple[str, Any]]:
    """The calls of kernels in the function, its transpose, their derivatives along a direction, and lanes."""
    operands = [jax.ShapeDtypeStruct(shape, case.dtype) for shape in case.shapes]

    def floating(*operands):
        return [y for y in jax.tree.leaves(case.run(*operands)) if jnp.issubdtype(y.dtype, jnp.floating)]

    def gradient(*operands):
        ys, back = jax.vjp(floating, *operands)
        return back([jnp.ones_like(y) for y in ys])

    yield "curvature", jax.make_jaxpr(lambda *xs: jax.jvp(gradient, xs, xs))(*operands)
    for chosen in itertools.product((None, 0), repeat=min(2, len(operands))):
        axes = (*chosen, *[chosen[-1]] * (len(operands) - len(chosen)))
        if 0 in axes:
            mapped = [jax.ShapeDtypeStruct((LANES, *x.shape) if axis == 0 else x.shape, x.dtype)
                      for x, axis in zip(operands, axes, strict=True)]  # fmt: skip
            yield f"gradient, lanes {axes}", jax.make_jaxpr(jax.vmap(gradient, axes))(*mapped)


def kernels_in(jaxpr: Any) -> Iterator[Any]:
    """The equations of own primitives, those of inner programs too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name.startswith("jax231_"):
            yield equation
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns")):
            if hasattr(inner, "eqns"):
                yield from kernels_in(inner)


def run_alone(equation: Any) -> None:
    """With random numbers, and with whole numbers that may be places in an array: inside it, and far outside."""
    whole = any(jnp.issubdtype(x.aval.dtype, jnp.integer) for x in equation.invars)
    for place in (0, -1, 2**30) if whole else (0,):
        operands = []
        for number, x in enumerate(equation.invars):
            if jnp.issubdtype(x.aval.dtype, jnp.floating):
                values = np.random.default_rng(number).standard_normal(x.aval.shape).astype(x.aval.dtype)
            else:
                values = np.full(x.aval.shape, place).astype(x.aval.dtype)
            operands.append(jnp.asarray(values))
        jax.block_until_ready(equation.primitive.bind(*operands, **equation.params))


def name(family: str, number: int, case: Case) -> str:
    facts = f"{family} {number}: {case.run.__name__} {case.shapes} {case.dtype} {case.run.__defaults__}"
    return " ".join(facts.split())  # one line: the last one names the case that was not finished


def inside(family: str, start: int) -> None:
    """The cases of a family from `start` on, in a process with the sanitizer."""
    seen = set()
    for number, case in enumerate(FAMILIES[family]()):
        for dtype in ("float32", "float64") if number >= start else ():
            case = case._replace(dtype=dtype)
            with jax.enable_x64(dtype == "float64"):
                for form, jaxpr in calls(case):
                    for equation in kernels_in(jaxpr):
                        types = ", ".join(str(x.aval) for x in equation.invars)
                        call = f"{equation.primitive.name}({types}) {equation.params}"
                        if call not in seen:
                            seen.add(call)
                            print(f"{name(family, number, case)}; {form}; {call}", flush=True)
                            run_alone(equation)
    print(f"{len(seen)} calls done", flush=True)


# Around it


def environment(sources: Path | None = None) -> dict[str, str]:
    """The environment of a process whose kernels are compiled with the sanitizer and must be used.

    The sanitizer's library has to be the first of a process, and finds the C++ exceptions of others only if their
    library is there from the start, too.
    """
    libraries = [_library("libasan.so"), _library("libstdc++.so")]
    more = {"JAX231_KERNELS_SOURCES": str(sources)} if sources else {}
    return {
        **os.environ, **more, "JAX231_KERNELS": "require", "JAX231_KERNELS_FLAGS": FLAGS, "JAX_PLATFORMS": "cpu",
        "LD_PRELOAD": " ".join(libraries), "ASAN_OPTIONS": "detect_leaks=0",
    }  # fmt: skip


def compiled(sources: Path | None = None) -> None:
    """Compile ahead, in a process without the sanitizer, which would slow the compiler down."""
    settings = {key: value for key, value in environment(sources).items() if key != "LD_PRELOAD"}
    script = "from jax231.kernels import native; native.build()"
    subprocess.run([sys.executable, "-c", script], env=settings, check=True)


def check(families: list[str], limit: int = 10) -> list[Finding]:
    """Run all cases of the families; what was found, at most `limit` of them."""
    compiled()
    findings = []
    for family in families:
        start = 0
        while len(findings) < limit:
            command = [sys.executable, "-m", __spec__.name, "--inside", family, str(start)]
            done = subprocess.run(command, env=environment(), capture_output=True, text=True)
            lines = done.stdout.splitlines()
            if done.returncode == 0 and lines[-1].endswith("done"):
                print(f"{family}: {lines[-1]}")
                break
            case = lines[-1] if lines else f"{family} {start}"
            findings.append(Finding(case, done.stderr))
            start = int(case.split()[1].rstrip(":")) + 1
    return findings


def summary(report: str) -> str:
    """The lines of a report that name the error and the place."""
    lines = report.splitlines()
    own = [line for line in lines if "ERROR" in line or "runtime error" in line or ("csrc" in line and "#" in line)]
    return "\n".join((own or lines)[:6] + lines[-1:])


def _library(file: str) -> str:
    compiler = toolchain.recipe().compiler
    done = subprocess.run([*compiler, f"-print-file-name={file}"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2], int(sys.argv[3]))
    else:
        found = check(sys.argv[1:] or list(FAMILIES))
        for finding in found:
            print(f"\n{finding.case}\n{summary(finding.report)}")
        print(f"{len(found)} findings")
        sys.exit(bool(found))
