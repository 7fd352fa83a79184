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
    copy_first(&v, p, count * sizeof(T));
    return v;
  }
  static inline void store_first(T* p, Vector v, int count) { copy_first(p, &v, count * sizeof(T)); }

 private:
  // Two moves of a fixed size that overlap: a move of a size known only now is a call.
  static inline void copy_first(void* to, const void* from, size_t bytes) {
    if (bytes == 0) return;
    if constexpr (kVectorBytes > 32) {
      if (bytes >= 32) return copy_twice<32>(to, from, bytes);
    }
    if constexpr (kVectorBytes > 16) {
      if (bytes >= 16) return copy_twice<16>(to, from, bytes);
    }
    if (sizeof(T) >= 8 || bytes >= 8) return copy_twice<8>(to, from, bytes);
    copy_twice<sizeof(T) < 8 ? sizeof(T) : 8>(to, from, bytes);
  }
  template <int size>
  static inline void copy_twice(void* to, const void* from, size_t bytes) {
    const size_t second = bytes - size;
    std::memcpy(to, from, size);
    std::memcpy(static_cast<char*>(to) + second, static_cast<const char*>(from) + second, size);
  }
};

// Where vectors may begin in a buffer with kVectorBytes to spare.
template <class T>
T* aligned(void* p) {
  return reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(p) + kVectorBytes - 1) / kVectorBytes * kVectorBytes);
}

}  // namespace jax231
