// Depthwise convolution and its input gradient: one kernel a channel, so that the vectors run over channels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "convolution_gather.h"

namespace jax231 {

template <class T>
struct Depthwise {
  static constexpr int kPixels = 4;  // side by side in a row, that share every load of the kernel

  const Convolution& c;
  bool transposed;
  std::vector<std::pair<Axis, Axis>> passes;  // rows and columns
  int64_t source_h, source_w, target_h, target_w;
  int64_t chunk;  // rows of a task

  Depthwise(const Convolution& c, bool transposed) : c(c), transposed(transposed) {
    source_h = transposed ? c.oh : c.h;
    source_w = transposed ? c.ow : c.w;
    target_h = transposed ? c.h : c.oh;
    target_w = transposed ? c.w : c.ow;
    passes = axes_of(c, transposed);
    const int64_t row = std::max<int64_t>(1, target_w * c.cout * c.kh * c.kw);
    chunk = std::max<int64_t>(200000 / row, (c.n * target_h + 63) / 64);
    chunk = std::max<int64_t>(chunk, 1);
  }

  int64_t chunks() const { return (c.n * target_h + chunk - 1) / chunk; }

  struct Tap {
    const T* source;
    const T* kernel;
  };

  struct Scalar {
    static constexpr int width = 1;
    typedef T Vector;
    static T load(const T* p) { return *p; }
    static void store(T* p, T x) { *p = x; }
  };

  // Channels [begin, end) of kCount pixels, a multiple of the vector's width.
  template <class S, int kCount>
  static void channels(const std::vector<Tap>& taps, int64_t source_step, T* target, int64_t target_step, int64_t begin,
                       int64_t end) {
    for (int64_t k = begin; k < end; k += S::width) {
      typename S::Vector sum[kCount] = {};
      for (const Tap& tap : taps) {
        const auto b = S::load(tap.kernel + k);
#pragma GCC unroll 8
        for (int p = 0; p < kCount; ++p) sum[p] += S::load(tap.source + p * source_step + k) * b;
      }
#pragma GCC unroll 8
      for (int p = 0; p < kCount; ++p) S::store(target + p * target_step + k, sum[p]);
    }
  }

  template <int kCount>
  void pixels(const std::vector<Tap>& taps, int64_t source_step, T* target, int64_t target_step) const {
    using S = Simd<T>;
    const int64_t whole = c.cout / S::width * S::width;
    channels<S, kCount>(taps, source_step, target, target_step, 0, whole);
    if (whole == c.cout) return;
    if (whole > 0) {  // once more, up to the last channel
      channels<S, kCount>(taps, source_step, target, target_step, c.cout - S::width, c.cout);
    } else {
      channels<Scalar, kCount>(taps, source_step, target, target_step, 0, c.cout);
    }
  }

  void run(int64_t task, const T* source, const T* kernel, T* target) const {
    std::vector<Tap> taps;
    for (int64_t row = task * chunk; row < std::min((task + 1) * chunk, c.n * target_h); ++row) {
      const int64_t image = row / target_h, at = row % target_h;
      for (const auto& [ya, xa] : passes) {
        if (at % ya.step != ya.start) continue;
        const int64_t y = at / ya.step * ya.reach;
        const int64_t target_step = xa.step * c.cout, source_step = xa.reach * c.cout;
        for (int64_t x = 0, count; x < xa.count; x += count) {
          const bool inner = x + kPixels <= xa.count && !xa.taps.empty() && x * xa.reach + xa.taps.front().offset >= 0 &&
                             (x + kPixels - 1) * xa.reach + xa.taps.back().offset < source_w;
          count = inner ? kPixels : 1;
          taps.clear();
          for (const Axis::Tap& i : ya.taps) {
            const int64_t sy = y + i.offset;
            if (sy < 0 || sy >= source_h) continue;
            for (const Axis::Tap& j : xa.taps) {
              const int64_t sx = x * xa.reach + j.offset;
              if (sx < 0 || sx >= source_w) continue;
              taps.push_back({source + ((image * source_h + sy) * source_w + sx) * c.cout,
                              kernel + (i.index * c.kw + j.index) * c.cout});
            }
          }
          T* to = target + ((image * target_h + at) * target_w + xa.start + x * xa.step) * c.cout;
          if (inner) {
            pixels<kPixels>(taps, source_step, to, target_step);
          } else {
            pixels<1>(taps, source_step, to, target_step);
          }
        }
      }
    }
  }
};

}  // namespace jax231
