// Vectors of the widest registers this processor has, by the compiler's own vector types.
#pragma once

#include <cstdint>
#include <cstring>

namespace jax231 {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kRegisters = 32;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
constexpr int kRegisters = 16;
#elif defined(__aarch64__)
constexpr int kVectorBytes = 16;
constexpr int kRegisters = 32;
#else
constexpr int kVectorBytes = 16;
constexpr int kRegisters = 16;
#endif

template <class T>
struct Simd {
  static constexpr int width = kVectorBytes / sizeof(T);
  typedef T Vector __attribute__((vector_size(kVectorBytes)));
  typedef T Unaligned __attribute__((vector_size(kVectorBytes), aligned(alignof(T)), may_alias));

  static inline Vector load(const T* p) { return *reinterpret_cast<const Unaligned*>(p); }
  static inline void store(T* p, Vector v) { *reinterpret_cast<Unaligned*>(p) = v; }
  static inline Vector broadcast(T x) { return x - Vector{}; }  // minus, for -0 + 0 is 0: an addition would remain

  // The first `count` entries; the others read as zero, and are left alone in memory.
  static inline Vector load_first(const T* p, int count) {
    Vector v{};
    std::memcpy(&v, p, count * sizeof(T));
    return v;
  }
  static inline void store_first(T* p, Vector v, int count) { std::memcpy(p, &v, count * sizeof(T)); }
};

}  // namespace jax231
