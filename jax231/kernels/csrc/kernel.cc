#include "kernel.h"

#include <utility>
#include <vector>

namespace jax231 {

static std::vector<std::pair<const char*, void*>>& kernels() {
  static std::vector<std::pair<const char*, void*>> list;
  return list;
}

Listed::Listed(const char* name, void* handler) { kernels().emplace_back(name, handler); }

}  // namespace jax231

JAX231_EXPORT int jax231_kernel_count() { return static_cast<int>(jax231::kernels().size()); }
JAX231_EXPORT const char* jax231_kernel_name(int i) { return jax231::kernels()[i].first; }
JAX231_EXPORT void* jax231_kernel_handler(int i) { return jax231::kernels()[i].second; }
