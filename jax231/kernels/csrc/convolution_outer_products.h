// Sums over pixels of outer products of channels, held in registers: the inner loop of the kernel gradient.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "convolution_tiles.h"
#include "simd.h"

namespace jax231 {

constexpr int kSums = kRegisters == 32 ? 24 : 12;  // vectors of sums that leave registers for the factors
constexpr int kMaxVectors = 3;
constexpr int kMaxChannels = 12;
constexpr int channels_beside(int vectors) { return std::min(kSums / vectors, kMaxChannels); }

// sums[c, o] (+)= sum over pixels of x[c] * y[o], for kChannels c's and kVectors vectors of o's. The sum starts from
// zero even where it is added to what is there: the rounding error grows with the tile and the number of tiles only.
template <class T, int kChannels, int kVectors>
void outer_products(const Walk& walk, const T* x, const T* y, T* sums, int64_t stride, bool first) {
  using S = Simd<T>;
  typename S::Vector sum[kChannels][kVectors];
#pragma GCC unroll 12
  for (int c = 0; c < kChannels; ++c) {
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) sum[c][v] = typename S::Vector{};
    __builtin_prefetch(sums + c * stride, 1);  // they may lie far from the core, and are needed at the end
    __builtin_prefetch(sums + c * stride + kVectors * S::width - 1, 1);
  }
  for (int64_t image = 0; image < walk.images; ++image) {
    for (int64_t row = 0; row < walk.rows; ++row) {
      const T* xp = x + image * walk.x_image + row * walk.x_row;
      const T* yp = y + image * walk.y_image + row * walk.y_row;
      for (int64_t pixel = walk.pixels; pixel > 0; --pixel) {
        typename S::Vector yv[kVectors];
#pragma GCC unroll 3
        for (int v = 0; v < kVectors; ++v) yv[v] = S::load(yp + v * S::width);
#pragma GCC unroll 12
        for (int c = 0; c < kChannels; ++c) {
#pragma GCC unroll 3
          for (int v = 0; v < kVectors; ++v) sum[c][v] += yv[v] * xp[c];
        }
        xp += walk.x_pixel;
        yp += kVectors * S::width;
      }
    }
  }
#pragma GCC unroll 12
  for (int c = 0; c < kChannels; ++c) {
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) {
      T* p = sums + c * stride + v * S::width;
      S::store(p, first ? sum[c][v] : S::load(p) + sum[c][v]);
    }
  }
}

template <class T>
using OuterProducts = void (*)(const Walk&, const T*, const T*, T*, int64_t, bool);

template <class T, int kVectors, int... kIndex>
constexpr std::array<OuterProducts<T>, sizeof...(kIndex)> listed(std::integer_sequence<int, kIndex...>) {
  return {outer_products<T, kIndex + 1, kVectors>...};
}

template <class T>
OuterProducts<T> outer_products_for(int64_t channels, int64_t vectors) {
  static constexpr auto one = listed<T, 1>(std::make_integer_sequence<int, channels_beside(1)>());
  static constexpr auto two = listed<T, 2>(std::make_integer_sequence<int, channels_beside(2)>());
  static constexpr auto three = listed<T, 3>(std::make_integer_sequence<int, channels_beside(3)>());
  return vectors == 1 ? one[channels - 1] : vectors == 2 ? two[channels - 1] : three[channels - 1];
}

}  // namespace jax231
