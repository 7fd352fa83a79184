"""A small primitive with a kernel of its own: the product of two arrays, and one with two results."""

import functools
import shutil
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.interpreters import ad

from jax231.kernels import library, native, primitive, toolchain
from jax231.kernels.primitive import Call, apply

SOURCE = """
#include "kernel.h"
#include "parallel.h"

namespace jax231 {

using In = ffi::Buffer<ffi::F32>;
using Out = ffi::ResultBuffer<ffi::F32>;

static ffi::Error product(ffi::ThreadPool pool, int64_t lanes, int64_t x_lane, int64_t k_lane, In x, In k, Out y,
                          ffi::ResultBuffer<ffi::U8> workspace) {
  if (workspace->element_count() < 64) return ffi::Error::InvalidArgument("toy_product: workspace too small");
  const int64_t size = y->element_count() / lanes;
  parallel_for(pool, lanes, [&](int64_t lane) {
    for (int64_t i = 0; i < size; ++i)
      y->typed_data()[lane * size + i] = x.typed_data()[lane * x_lane + i] * k.typed_data()[lane * k_lane + i];
  });
  return ffi::Error::Success();
}

static ffi::Error ends(float by, In x, Out first, Out last) {
  const int64_t lanes = first->element_count(), size = x.element_count() / lanes;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    first->typed_data()[lane] = by * x.typed_data()[lane * size];
    last->typed_data()[lane] = by * x.typed_data()[(lane + 1) * size - 1];
  }
  return ffi::Error::Success();
}

JAX231_KERNEL(toy_product, product,
              (ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Attr<int64_t>("lanes").Attr<int64_t>("x_lane")
                   .Attr<int64_t>("k_lane").Arg<In>().Arg<In>().Ret<In>().Ret<ffi::Buffer<ffi::U8>>()));
JAX231_KERNEL(toy_ends, ends, (ffi::Ffi::Bind().Attr<float>("by").Arg<In>().Ret<In>().Ret<In>()));

}  // namespace jax231
"""


def _product_call(x, k, *, laned):
    if x.dtype != np.float32 or not x.size * k.size:
        return None
    lanes = next((x.shape[0] for x, lane in zip((x, k), laned, strict=True) if lane), 1)
    steps = [np.int64(int(lane) * x.size // lanes) for x, lane in zip((x, k), laned, strict=True)]
    return Call("toy_product", {"lanes": np.int64(lanes), "x_lane": steps[0], "k_lane": steps[1]}, workspace=64)


def _ends_call(x, *, laned, by):
    return Call("toy_ends", {"by": np.float32(by)}) if x.dtype == np.float32 and x.size else None


def _stock(x, k):
    """The same with a mark in the lowered program."""
    return (x.T * k.T).T


_product = primitive.primitive("toy_product", lambda x, k: x * k, _product_call, stock=_stock)
_ends = primitive.primitive("toy_ends", lambda x, *, by: (by * x[0], by * x[-1]), _ends_call, results=2)


def product(x, k):
    """``x * k`` for equal shapes; bilinear, so its derivatives are products again."""
    return apply(_product, jnp.asarray(x), jnp.asarray(k))


def ends(x, by=2.0):
    """``by`` times the first and the last entry of a vector; its derivative goes through the plain form."""
    return tuple(apply(_ends, jnp.asarray(x), by=by))


ad.defbilinear(
    _product,
    lambda ct, x, k, *, laned: _other(ct, k, laned, 0),
    lambda ct, x, k, *, laned: _other(ct, x, laned, 1),
)


def _other(ct, factor, laned, place):
    """The cotangent of one factor; lanes that it has not are summed."""
    lanes = (any(laned), laned[1 - place])
    out = apply(_product, ct, factor, laned=lanes)
    return out if laned[place] or not any(laned) else jnp.sum(out, 0)


@functools.cache
def load() -> bool:
    """Register the kernels in this process beside the real ones; False where kernels are not used here."""
    if not native.active():
        return False
    headers = [Path(toolchain.__file__).with_name("csrc") / name for name in ("kernel.h", "kernel.cc", "parallel.h")]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for header in headers:
            shutil.copy(header, folder)
        Path(folder, "toy.cc").write_text(SOURCE)
        patch.setenv("JAX231_KERNELS_SOURCES", folder)
        patch.setenv("JAX231_KERNELS_FLAGS", "-O0")
        recipe = toolchain.recipe()
        native._load(recipe, library.obtain(recipe))
    return True


def kernels_in(f, *args, platform: str | None = None) -> int:
    """How many calls of the toy's kernels a lowered program has."""
    traced = jax.jit(f).trace(*args)
    lowered = traced.lower(lowering_platforms=(platform,)) if platform else traced.lower()
    return lowered.as_text().count("custom_call @jax231_toy")
