// Division of integers, rounded up.
#pragma once

#include <cstdint>

namespace jax231 {

inline int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

}  // namespace jax231
