// What every kernel starts from, and the list of kernels from which Python registers them.
#pragma once

#include "xla/ffi/api/ffi.h"

namespace jax231 {

namespace ffi = xla::ffi;

struct Listed {
  Listed(const char* name, void* handler);
};

}  // namespace jax231

// Define the XLA handler jax231_<name> and list it.
#define JAX231_KERNEL(name, function, binding)                     \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(jax231_##name, function, binding); \
  static const ::jax231::Listed name##_is_listed(#name, reinterpret_cast<void*>(&jax231_##name))

// A plain C function that Python calls.
#define JAX231_EXPORT extern "C" __attribute__((visibility("default")))
