// The logistic function and the hyperbolic tangent of a vector, within 3 units in the last place.
#pragma once

#include <cstdint>
#include <cstring>

#include "simd.h"

namespace jax231 {

template <class T>
struct Exponential;

// exp(x) = 2^n exp(r) with |r| <= log(2) / 2, where Taylor's sum of so many terms has the precision of the type.
template <>
struct Exponential<float> {
  using Bits = int32_t;
  static constexpr int terms = 7, mantissa = 23, bias = 127;
  static constexpr float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the lowest bits
  static constexpr float log2_high = 0.693359375f, log2_low = -2.12194440e-4f;
  static constexpr float largest = 89.0f, smallest = -87.0f, flat = 10.0f;
};

template <>
struct Exponential<double> {
  using Bits = int64_t;
  static constexpr int terms = 13, mantissa = 52, bias = 1023;
  static constexpr double round = 6755399441055744.0;
  static constexpr double log2_high = 6.93147180369123816490e-01, log2_low = 1.90821492927058770002e-10;
  static constexpr double largest = 709.9, smallest = -708.0, flat = 20.0;
};

// A power of two and `rest` with exp(x) = power + power * rest, for x from `smallest` to `largest`, whose power is
// infinite.
template <class T>
struct Powers {
  using E = Exponential<T>;
  using Vector = typename Simd<T>::Vector;
  typedef typename E::Bits Integers __attribute__((vector_size(kVectorBytes)));
  Vector power, rest;

  explicit inline Powers(Vector x) {
    const Vector shifted = x * T(1.4426950408889634) + E::round;
    const Vector n = shifted - E::round;
    const Vector r = (x - n * E::log2_high) - n * E::log2_low;
    T factorial = 1;
    for (int k = 2; k <= E::terms; ++k) factorial *= k;
    Vector sum = Vector{} + 1 / factorial;
    for (int k = E::terms - 1; k >= 1; --k) {
      factorial /= k + 1;
      sum = sum * r + 1 / factorial;
    }
    rest = sum * r;
    Integers bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << E::mantissa) + (typename E::Bits(E::bias) << E::mantissa);
    std::memcpy(&power, &bits, sizeof bits);
  }
};

// Comparisons are false for NaN, which therefore stays.
template <class T, class Vector = typename Simd<T>::Vector>
inline Vector clip(Vector x, T low, T high) {
  x = x < low ? Vector{} + low : x;
  return x > high ? Vector{} + high : x;
}

template <class T, class Vector = typename Simd<T>::Vector>
inline Vector sigmoid(Vector x) {
  using E = Exponential<T>;
  const Powers<T> e(clip<T>(-x, E::smallest, E::largest));
  return 1 / (1 + e.power * (1 + e.rest));  // the other order has infinity minus infinity
}

// tanh(x) = m / (m + 2) with m = exp(2 x) - 1, which keeps its precision around zero.
template <class T, class Vector = typename Simd<T>::Vector>
inline Vector tanh(Vector x) {
  const Powers<T> e(clip<T>(2 * x, -2 * Exponential<T>::flat, 2 * Exponential<T>::flat));
  const Vector m = e.power * e.rest + (e.power - 1);
  return m / (m + 2);
}

}  // namespace jax231
