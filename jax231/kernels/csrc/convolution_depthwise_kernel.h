// The kernel gradient of a depthwise convolution: k[a, b, c] = sum over n, i, j of x[n, .., .., c] * y[n, i, j, c].
//
// Channels do not meet, so vectors run over channels. The sums of some neighbouring taps of one kernel row stay in
// registers while a tile's pixels pass; pixels at the edge, where only some of the taps lie inside, go tap by tap.
#pragma once

#include <algorithm>
#include <cstdint>

#include "convolution.h"
#include "convolution_tiles.h"
#include "simd.h"

namespace jax231 {

constexpr int kMaxTaps = 5;  // with two vectors of channels each, their sums leave registers for the factors

// sums[tap, c] (+)= sum over pixels of x[tap, c] * y[c], for kTaps taps and kVectors vectors of channels.
template <class S, int kTaps, int kVectors, class T>
void tap_sums(const Walk& walk, const T* x, int64_t x_tap, const T* y, T* sums, int64_t stride, bool first) {
  typename S::Vector sum[kTaps][kVectors];
#pragma GCC unroll 5
  for (int t = 0; t < kTaps; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sum[t][v] = typename S::Vector{};
  }
  for (int64_t image = 0; image < walk.images; ++image) {
    for (int64_t row = 0; row < walk.rows; ++row) {
      const T* xp = x + image * walk.x_image + row * walk.x_row;
      const T* yp = y + image * walk.y_image + row * walk.y_row;
      for (int64_t pixel = walk.pixels; pixel > 0; --pixel) {
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
          const typename S::Vector yv = S::load(yp + v * S::width);
#pragma GCC unroll 5
          for (int t = 0; t < kTaps; ++t) sum[t][v] += S::load(xp + t * x_tap + v * S::width) * yv;
        }
        xp += walk.x_pixel;
        yp += walk.y_pixel;
      }
    }
  }
#pragma GCC unroll 5
  for (int t = 0; t < kTaps; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      T* p = sums + t * stride + v * S::width;
      S::store(p, first ? sum[t][v] : S::load(p) + sum[t][v]);
    }
  }
}

// A vector of one, for fewer channels than a vector has.
template <class T>
struct Single {
  static constexpr int width = 1;
  using Vector = T;
  static T load(const T* p) { return *p; }
  static void store(T* p, T v) { *p = v; }
};

// How the work is cut: a unit is one lane and some tiles of the batch ("chunk"), and has sums of its own.
template <class T>
struct DepthwisePlan {
  static constexpr int64_t kChunks = 8, kTilePixels = 256, kUnitWork = 1 << 18;

  int64_t channels, width, columns;  // channels in vectors of `width`; `columns` of sums, whole vectors
  Tiles tiles;
  int64_t chunks, units, sums;

  explicit DepthwisePlan(const Convolution& s)
      : channels(s.groups), width(channels < Simd<T>::width ? 1 : Simd<T>::width), tiles(s, kTilePixels) {
    columns = ceil_div(channels, width) * width;
    chunks = std::max<int64_t>(std::min({kChunks / s.lanes, tiles.count(), s.multiply_adds() / kUnitWork}), 1);
    units = s.lanes * chunks;
    sums = s.kh * s.kw * columns;
  }
  int64_t bytes() const { return units * sums * sizeof(T) + kVectorBytes; }
};

template <class T>
struct DepthwiseKernelGradient {
  const Convolution& s;
  const DepthwisePlan<T> plan;
  const T *x, *y;
  T *k, *sums;

  DepthwiseKernelGradient(const Convolution& s, const T* x, const T* y, T* k, void* workspace)
      : s(s), plan(s), x(x), y(y), k(k), sums(aligned<T>(workspace)) {}

  template <class Run>
  void operator()(const Run& run) const {
    run(plan.units, [&](int64_t unit) {
      const int64_t lane = unit / plan.chunks;
      const Range tiles = part(plan.tiles.count(), plan.chunks, unit % plan.chunks);
      for (int64_t i = tiles.begin; i < tiles.end; ++i) {
        const T* xs = x + (s.first_laned ? lane * s.x_size() : 0);
        const T* ys = y + (s.second_laned ? lane * s.y_size() : 0);
        sum_tile(plan.tiles[i], xs, ys, sums + unit * plan.sums, i == tiles.begin);
      }
    });
    for (int64_t lane = 0; lane < s.lanes; ++lane) {
      add_up(sums + lane * plan.chunks * plan.sums, k + lane * s.kernel_size());
    }
  }

  void sum_tile(const Tile& tile, const T* x, const T* y, T* sums, bool first) const {
    for (int64_t column = 0; column < plan.columns;) {
      // The last vector overlaps the one before where the channels do not fill it; its sums are kept apart.
      const bool two = plan.width > 1 && column + 2 * plan.width <= plan.channels;
      const int64_t c = std::min(column, plan.channels - plan.width);
      if (plan.width == 1) {
        sum_rows<Single<T>, 1>(tile, x + c, y + c, sums + column, first);
      } else if (two) {
        sum_rows<Simd<T>, 2>(tile, x + c, y + c, sums + column, first);
      } else {
        sum_rows<Simd<T>, 1>(tile, x + c, y + c, sums + column, first);
      }
      column += two ? 2 * plan.width : plan.width;
    }
  }

  template <class S, int kVectors>
  void sum_rows(const Tile& tile, const T* x, const T* y, T* sums, bool first) const {
    const int64_t pieces = ceil_div(s.kw, kMaxTaps);
    for (int64_t a = 0; a < s.kh; ++a) {
      for (int64_t piece = 0; piece < pieces; ++piece) {
        const Range taps = part(s.kw, pieces, piece);
        Range whole = columns_of(tile, taps.begin) & columns_of(tile, taps.end - 1);
        if (whole.size() == 0) whole = {tile.columns.begin, tile.columns.begin};
        switch (taps.size()) {
          case 1: sum_taps<S, 1, kVectors>(tile, a, taps.begin, whole, x, y, sums, first); break;
          case 2: sum_taps<S, 2, kVectors>(tile, a, taps.begin, whole, x, y, sums, first); break;
          case 3: sum_taps<S, 3, kVectors>(tile, a, taps.begin, whole, x, y, sums, first); break;
          case 4: sum_taps<S, 4, kVectors>(tile, a, taps.begin, whole, x, y, sums, first); break;
          case 5: sum_taps<S, 5, kVectors>(tile, a, taps.begin, whole, x, y, sums, first); break;
        }
        for (int64_t b = taps.begin; b < taps.end; ++b) {
          const Range columns = columns_of(tile, b);
          for (const Range& edge : {columns & Range{0, whole.begin}, columns & Range{whole.end, s.ow}}) {
            if (edge.size() > 0) sum_taps<S, 1, kVectors>(tile, a, b, edge, x, y, sums, false);
          }
        }
      }
    }
  }

  Range columns_of(const Tile& tile, int64_t b) const {
    return tile.columns & inside(b * s.dilation_w - s.pad_left, s.stride_w, s.w);
  }

  template <class S, int kTaps, int kVectors>
  void sum_taps(const Tile& tile, int64_t a, int64_t b, Range columns, const T* x, const T* y, T* sums,
                bool first) const {
    const int64_t line = a * s.dilation_h - s.pad_top, place = b * s.dilation_w - s.pad_left;
    const Range rows = tile.rows & inside(line, s.stride_h, s.h);
    if (rows.size() == 0 && !first) return;
    const int64_t c = plan.channels, x_row = s.w * c, x_image = s.h * x_row, y_row = s.ow * c, y_image = s.oh * y_row;
    const Walk walk{tile.images.size(), rows.size(), columns.size(), x_image, s.stride_h * x_row, s.stride_w * c,
                    y_image,            y_row,       c};
    const T* xt = x + tile.images.begin * x_image + (rows.begin * s.stride_h + line) * x_row +
                  (columns.begin * s.stride_w + place) * c;
    const T* yt = y + tile.images.begin * y_image + rows.begin * y_row + columns.begin * c;
    T* at = sums + (a * s.kw + b) * plan.columns;
    tap_sums<S, kTaps, kVectors>(walk.joined(), xt, s.dilation_w * c, yt, at, plan.columns, first);
  }

  void add_up(const T* sums, T* k) const {
    const int64_t full = plan.channels / plan.width * plan.width, overlap = plan.columns - plan.channels;
    for (int64_t tap = 0; tap < s.kh * s.kw; ++tap) {
      for (int64_t c = 0; c < plan.channels; ++c) {
        const T* at = sums + tap * plan.columns + (c < full ? c : c + overlap);
        T sum = 0;
        for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) sum += at[chunk * plan.sums];
        k[tap * plan.channels + c] = sum;
      }
    }
  }
};

}  // namespace jax231
