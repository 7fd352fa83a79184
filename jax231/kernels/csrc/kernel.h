// What every kernel starts from, and the list of kernels from which Python registers them.
#pragma once

#include "xla/ffi/api/ffi.h"

namespace jax231 {

namespace ffi = xla::ffi;

struct Listed {
  Listed(const char* name, void* handler);
};

}  // namespace jax231

// Define the XLA handler `name` and list it.
#define JAX231_KERNEL(name, function, binding)             \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, function, binding);  \
  static const ::jax231::Listed name##_is_listed(#name, reinterpret_cast<void*>(&name))

// A plain C function that Python calls.
#define JAX231_EXPORT extern "C" __attribute__((visibility("default")))
