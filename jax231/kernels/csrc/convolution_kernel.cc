// The kernel gradient of a convolution, the third of its bilinear maps:
//
//   k[a, b, c, o] = sum over n, i, j of x[n, i * sh + a * dh - top, j * sw + b * dw - left, c] * y[n, i, j, o]
//
// For one tap (a, b) this is a matrix product, transposed x times y, summed over pixels. Both have a pixel's channels
// side by side, so it needs no transposed copy: the sums of some channels c and some vectors of channels o stay in
// registers, and every pixel adds the outer product of its c's, broadcast, and its o's. Pixels whose tap falls into the
// padding are left out.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

#include "convolution.h"
#include "convolution_depthwise_kernel.h"
#include "convolution_tiles.h"
#include "kernel.h"
#include "parallel.h"
#include "simd.h"

namespace jax231 {
namespace {

// ---- Outer products ----

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

// ---- The general form ----

constexpr int64_t kTilePixels = 256;
constexpr int64_t kTasks = 32;                   // at most; each has its own scratch memory
constexpr int64_t kChunks = 8;                   // private sums over parts of the batch, at most
constexpr int64_t kSumBytes = 256 << 10;         // of one unit of work; leaves room for the tile in a core's L2
constexpr int64_t kUnitWork = 1 << 20;           // products worth a task

// How the work is cut, by the shapes alone. A unit is: one lane, one group, some output channels ("part"), some tiles
// of the batch ("chunk").
template <class T>
struct Plan {
  static constexpr int64_t kWidth = Simd<T>::width;

  Convolution s;
  bool merged;           // few channels: those of all taps of a kernel row, which lie side by side, count as channels
  int64_t run, taps;     // channels side by side, taps with such a run each
  int64_t vectors;       // of output channels of a group
  Tiles tiles;
  int64_t parts, chunks, units, tasks;
  bool direct;           // sums are made in the result itself
  bool packed;           // y is copied, tile by tile, so that blocks of output channels lie side by side
  int64_t panel, image, sums;  // entries of a tile of y, of x, of a unit's sums

  explicit Plan(const Convolution& sizes) : s(sizes), tiles(sizes, kTilePixels) {
    const int64_t outputs = s.group_cout();
    vectors = ceil_div(outputs, kWidth);
    merged = s.kw > 1 && s.dilation_w == 1 && s.cin * std::min<int64_t>(vectors, 2) < 8;
    run = merged ? s.kw * s.cin : s.cin;
    taps = merged ? s.kh : s.kh * s.kw;

    const int64_t rows = s.kh * s.kw * s.cin;
    const int64_t pairs = std::max<int64_t>(vectors / 2, 1);
    parts = std::clamp<int64_t>(rows * vectors * kWidth * sizeof(T) / kSumBytes, 1, pairs);
    const int64_t others = s.lanes * s.groups * parts;
    const int64_t work = s.n * s.oh * s.ow * rows * outputs / parts;
    chunks = std::min({kChunks / others, tiles.count(), work / kUnitWork});
    chunks = std::max<int64_t>(chunks, 1);
    units = others * chunks;
    tasks = std::min({units, kTasks, std::max<int64_t>(work * others / kUnitWork, 1)});

    direct = chunks == 1 && outputs % kWidth == 0;
    packed = s.groups > 1 || vectors > kMaxVectors || outputs % kWidth != 0;
    panel = packed ? tiles.largest() * widest() : 0;
    const int64_t tile_rows = (ceil_div(s.oh, tiles.rows) - 1) * s.stride_h + (s.kh - 1) * s.dilation_h + 1;
    const int64_t tile_columns = tile_width(ceil_div(s.ow, tiles.columns));
    image = merged ? ceil_div(s.n, tiles.images) * std::min(tile_rows, s.h) * tile_columns * s.cin : 0;
    sums = direct ? 0 : rows * widest();
  }

  int64_t tile_width(int64_t columns) const { return (columns - 1) * s.stride_w + s.kw; }

  // Vectors of one part, in blocks of two, the last of three if the number is odd.
  Range part_vectors(int64_t p) const {
    const Range pairs = part(std::max<int64_t>(vectors / 2, 1), parts, p);
    return {2 * pairs.begin, p + 1 == parts ? vectors : 2 * pairs.end};
  }
  int64_t widest() const {
    int64_t most = 0;
    for (int64_t p = 0; p < parts; ++p) most = std::max(most, part_vectors(p).size());
    return most * kWidth;
  }

  static int64_t rounded(int64_t entries) { return (entries + kWidth - 1) / kWidth * kWidth; }
  int64_t slot() const { return rounded(panel) + rounded(image) + (chunks == 1 ? rounded(sums) : 0); }
  int64_t partials() const { return chunks > 1 ? units * rounded(sums) : 0; }
  int64_t bytes() const { return (tasks * slot() + partials()) * sizeof(T) + kVectorBytes; }
};

template <class T>
struct KernelGradient {
  using S = Simd<T>;
  Plan<T> plan;
  const Convolution& s = plan.s;
  const T *x, *y;
  T *k, *slots, *partials;

  KernelGradient(const Convolution& sizes, const T* x, const T* y, T* k, void* workspace)
      : plan(sizes), x(x), y(y), k(k) {
    slots = aligned<T>(workspace);
    partials = slots + plan.tasks * plan.slot();
  }

  // Work is shared out by run(number, function of an index).
  template <class Run>
  void operator()(const Run& run) const {
    run(plan.tasks, [&](int64_t task) {
      for (int64_t unit = task; unit < plan.units; unit += plan.tasks) sum_unit(unit, slots + task * plan.slot());
    });
    if (plan.chunks == 1) return;
    const int64_t rows = s.kh * s.kw * s.cin, pieces = ceil_div(rows * plan.widest(), 1 << 14);
    run(plan.units / plan.chunks * pieces, [&](int64_t task) {
      const int64_t unit = task / pieces * plan.chunks;
      add_up(unit, partials + unit * plan.rounded(plan.sums), part(rows, pieces, task % pieces));
    });
  }

  // The parts of a unit's number.
  struct Unit {
    int64_t lane, group, part, chunk;
  };
  Unit unit_at(int64_t i) const {
    const int64_t lane_group = i / plan.chunks / plan.parts;
    return {lane_group / s.groups, lane_group % s.groups, i / plan.chunks % plan.parts, i % plan.chunks};
  }

  // The result's entries of a lane and the first output channel of a unit.
  T* result(const Unit& u) const {
    const int64_t outputs = s.group_cout();
    return k + u.lane * s.kernel_size() + u.group * outputs + plan.part_vectors(u.part).begin * S::width;
  }

  void sum_unit(int64_t number, T* slot) const {
    const Unit u = unit_at(number);
    T* panel = slot;
    T* image = panel + plan.rounded(plan.panel);
    const int64_t width = plan.part_vectors(u.part).size() * S::width;
    T* sums = plan.direct       ? result(u)
              : plan.chunks > 1 ? partials + number * plan.rounded(plan.sums)
                                : image + plan.rounded(plan.image);
    const int64_t stride = plan.direct ? s.cout : width;

    const Range tiles = part(plan.tiles.count(), plan.chunks, u.chunk);
    for (int64_t i = tiles.begin; i < tiles.end; ++i) {
      sum_tile(u, plan.tiles[i], panel, image, sums, stride, i == tiles.begin);
    }
    if (plan.chunks == 1 && !plan.direct) add_up(number, sums, {0, s.kh * s.kw * s.cin});
  }

  void sum_tile(const Unit& u, const Tile& tile, T* panel, T* image, T* sums, int64_t stride, bool first) const {
    const Range vectors = plan.part_vectors(u.part);
    const int64_t x_pixel = s.groups * s.cin;

    // x at (tile.images.begin, 0, 0): in place, or the copy whose columns begin at the first tap of the first pixel.
    const T* xs = x + (s.first_laned ? u.lane * s.x_size() : 0) + u.group * s.cin;
    xs += tile.images.begin * s.h * s.w * x_pixel;
    Walk walk{tile.images.size(), 0, 0, s.h * s.w * x_pixel, s.stride_h * s.w * x_pixel, s.stride_w * x_pixel, 0, 0, 0};
    int64_t x_line = s.w * x_pixel;
    if (plan.merged) {
      const int64_t begin = tile.rows.begin * s.stride_h - s.pad_top;
      const int64_t height = (tile.rows.size() - 1) * s.stride_h + (s.kh - 1) * s.dilation_h + 1;
      const Range lines = Range{begin, begin + height} & Range{0, s.h};
      x_line = plan.tile_width(tile.columns.size()) * s.cin;
      copy_image(xs, tile, lines, image);
      xs = image - lines.begin * x_line;
      walk.x_image = lines.size() * x_line;
      walk.x_row = s.stride_h * x_line;
      walk.x_pixel = s.stride_w * s.cin;
    }

    for (int64_t v = vectors.begin; v < vectors.end;) {
      const int64_t left = vectors.end - v, block = left <= 3 ? left : 2, width = block * S::width;
      const T* ys = y + (s.second_laned ? u.lane * s.y_size() : 0);
      ys += ((tile.images.begin * s.oh + tile.rows.begin) * s.ow + tile.columns.begin) * s.cout;
      walk.y_pixel = width;
      walk.y_row = s.ow * s.cout;
      walk.y_image = s.oh * s.ow * s.cout;
      if (plan.packed) {
        copy_panel(ys + u.group * s.group_cout() + v * S::width, tile, v, width, panel);
        ys = panel;
        walk.y_row = tile.columns.size() * width;
        walk.y_image = tile.rows.size() * walk.y_row;
      }
      const int64_t most = channels_beside(block), blocks = ceil_div(plan.run, most);
      for (int64_t tap = 0; tap < plan.taps; ++tap) {
        const int64_t a = plan.merged ? tap : tap / s.kw, b = plan.merged ? 0 : tap % s.kw;
        const int64_t line = a * s.dilation_h - s.pad_top, place = b * s.dilation_w - s.pad_left;
        const Range rows = tile.rows & inside(line, s.stride_h, s.h);
        const Range columns = plan.merged ? tile.columns : tile.columns & inside(place, s.stride_w, s.w);
        walk.rows = rows.size();
        walk.pixels = columns.size();
        if (!first && walk.rows * walk.pixels == 0) continue;
        const int64_t column = plan.merged ? 0 : columns.begin * s.stride_w + place;
        const T* xt = xs + (rows.begin * s.stride_h + line) * x_line + column * x_pixel;
        const T* yt = ys + (rows.begin - tile.rows.begin) * walk.y_row + (columns.begin - tile.columns.begin) * width;
        const Walk joined = walk.joined();
        for (int64_t i = 0; i < blocks; ++i) {
          const Range c = part(plan.run, blocks, i);
          T* at = sums + (tap * plan.run + c.begin) * stride + (v - vectors.begin) * S::width;
          outer_products_for<T>(c.size(), block)(joined, xt + c.begin, yt, at, stride, first);
        }
      }
      v += block;
    }
  }

  // The tile's lines of x, widened by zeros to all columns that a tap sees; only this group's channels.
  void copy_image(const T* from, const Tile& tile, Range lines, T* to) const {
    const int64_t pixel = s.groups * s.cin, begin = tile.columns.begin * s.stride_w - s.pad_left;
    const int64_t width = plan.tile_width(tile.columns.size());
    const Range seen = Range{begin, begin + width} & Range{0, s.w};
    for (int64_t n = 0; n < tile.images.size(); ++n) {
      for (int64_t i = lines.begin; i < lines.end; ++i, to += width * s.cin) {
        if (seen.size() < width) std::fill(to, to + width * s.cin, T(0));
        const T* line = from + (n * s.h + i) * s.w * pixel;
        if (s.groups == 1) {
          std::copy_n(line + seen.begin * pixel, seen.size() * pixel, to + (seen.begin - begin) * s.cin);
        } else {
          for (int64_t j = seen.begin; j < seen.end; ++j) {
            std::copy_n(line + j * pixel, s.cin, to + (j - begin) * s.cin);
          }
        }
      }
    }
  }

  // `width` output channels of the tile's pixels side by side, those beyond the last as zero.
  void copy_panel(const T* from, const Tile& tile, int64_t vector, int64_t width, T* to) const {
    const int64_t have = std::min(width, s.group_cout() - vector * S::width);
    for (int64_t n = 0; n < tile.images.size(); ++n) {
      for (int64_t i = 0; i < tile.rows.size(); ++i) {
        const T* pixel = from + (n * s.oh + i) * s.ow * s.cout;
        for (int64_t j = 0; j < tile.columns.size(); ++j, pixel += s.cout, to += width) {
          if (have == width) {
            for (int64_t v = 0; v < width; v += S::width) S::store(to + v, S::load(pixel + v));
          } else {
            std::fill(std::copy_n(pixel, have, to), to + width, T(0));
          }
        }
      }
    }
  }

  // Sum the chunks' sums, which begin with those of unit `number`, into some rows of the result.
  void add_up(int64_t number, const T* sums, Range rows) const {
    const Unit u = unit_at(number);
    const Range vectors = plan.part_vectors(u.part);
    const int64_t width = vectors.size() * S::width;
    const int64_t have = std::min(width, s.group_cout() - vectors.begin * S::width);
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      T* to = result(u) + row * s.cout;
      for (int64_t o = 0; o < have; ++o) {
        T sum = 0;
        for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) {
          sum += sums[chunk * plan.rounded(plan.sums) + row * width + o];
        }
        to[o] = sum;
      }
    }
  }
};

template <class T, class Run>
void kernel_gradient(const Convolution& s, const T* x, const T* y, T* k, void* workspace, const Run& run) {
  const int64_t size = s.lanes * s.kernel_size();
  if (size == 0) return;
  if (s.x_size() * s.y_size() == 0) {
    std::fill_n(k, size, T(0));
  } else if (s.depthwise()) {
    DepthwiseKernelGradient<T>(s, x, y, k, workspace)(run);
  } else {
    KernelGradient<T>(s, x, y, k, workspace)(run);
  }
}

template <class T>
int64_t workspace_bytes(const Convolution& s) {
  if (s.lanes * s.kernel_size() * s.x_size() * s.y_size() == 0) return 1;
  return s.depthwise() ? DepthwisePlan<T>(s).bytes() : Plan<T>(s).bytes();
}

template <ffi::DataType kType>
ffi::Error conv_kernel(ffi::ThreadPool pool, ffi::Span<const int64_t> geometry, ffi::Buffer<kType> x,
                       ffi::Buffer<kType> y, ffi::ResultBuffer<kType> k, ffi::ResultBuffer<ffi::U8> workspace) {
  using T = ffi::NativeType<kType>;
  const auto decoded = Convolution::decode(geometry.begin(), geometry.size());
  if (!decoded) return ffi::Error::InvalidArgument("conv_kernel: not the numbers of a convolution");
  const Convolution& s = *decoded;
  if (static_cast<int64_t>(workspace->element_count()) < workspace_bytes<T>(s)) {
    return ffi::Error::InvalidArgument("conv_kernel: workspace too small");
  }
  kernel_gradient<T>(s, x.typed_data(), y.typed_data(), k->typed_data(), workspace->untyped_data(),
                     [&](int64_t tasks, const auto& work) { parallel_for(pool, tasks, work); });
  return ffi::Error::Success();
}

}  // namespace

#define JAX231_CONV_KERNEL(name, type)                                \
  JAX231_KERNEL(name, conv_kernel<type>,                              \
                (ffi::Ffi::Bind()                                     \
                     .Ctx<ffi::ThreadPool>()                          \
                     .Attr<ffi::Span<const int64_t>>("geometry")      \
                     .Arg<ffi::Buffer<type>>()                        \
                     .Arg<ffi::Buffer<type>>()                        \
                     .Ret<ffi::Buffer<type>>()                        \
                     .Ret<ffi::Buffer<ffi::U8>>()))
JAX231_CONV_KERNEL(conv_kernel_f32, ffi::F32);
JAX231_CONV_KERNEL(conv_kernel_f64, ffi::F64);

}  // namespace jax231

// Bytes of memory that conv_kernel works in.
extern "C" __attribute__((visibility("default"))) int64_t jax231_conv_kernel_workspace(const int64_t* geometry,
                                                                                      int count, int itemsize) {
  const auto s = jax231::Convolution::decode(geometry, count);
  if (!s) return -1;
  return itemsize == 8 ? jax231::workspace_bytes<double>(*s) : jax231::workspace_bytes<float>(*s);
}
