// The kernel gradient of a convolution, the third of its bilinear maps:
//
//   k[a, b, c, o] = sum over n, i, j of x[n, i * sh + a * dh - top, j * sw + b * dw - left, c] * y[n, i, j, o]
//
// For one tap (a, b) this is a matrix product, transposed x times y, summed over pixels. Both have a pixel's channels
// side by side, so it needs no transposed copy: the sums of some channels c and some vectors of channels o stay in
// registers, and every pixel adds the outer product of its c's, broadcast, and its o's. Pixels whose tap falls into the
// padding are left out.

#include <algorithm>
#include <cstdint>

#include "convolution.h"
#include "convolution_depthwise_kernel.h"
#include "convolution_outer_products.h"
#include "convolution_tiles.h"
#include "kernel.h"
#include "parallel.h"
#include "simd.h"

namespace jax231 {
namespace {

constexpr int64_t kTilePixels = 256;        // at most; more would let rounding errors grow
constexpr int64_t kTileBytes = 160 << 10;   // of x and y, and
constexpr int64_t kSumBytes = 256 << 10;    // of sums: together they stay in a core's L2
constexpr int64_t kFarBytes = 1 << 10;      // pixels of x further apart are copied next to each other
constexpr int64_t kUnitWork = 1 << 20;      // products worth a task
constexpr int64_t kChunks = 8;              // sums over parts of the batch, at most
constexpr int64_t kTasks = 32;              // at most; each has its own scratch memory

// How the work is cut, by the shapes alone. A unit is: one lane, one group, some channels ("slab") by some output
// channels ("part"), some tiles of the batch ("chunk").
template <class T>
struct Plan {
  static constexpr int64_t kWidth = Simd<T>::width;

  Convolution s;
  bool merged;                 // few channels: those of all taps of a kernel row, side by side in x, count as channels
  int64_t run, taps;           // channels side by side, taps with such a run each
  int64_t vectors;             // of output channels of a group
  int64_t slabs, parts;
  Tiles tiles;
  int64_t chunks, units, tasks;
  bool copied;                 // x is copied, tile by tile
  bool packed;                 // y is copied, tile by tile, in blocks of output channels
  bool direct;                 // sums are made in the result itself
  int64_t image, panel, sums;  // entries of a tile's x, of its y, of a unit's sums

  explicit Plan(const Convolution& sizes) : s(sizes) {
    vectors = ceil_div(s.group_cout(), kWidth);
    merged = s.kw > 1 && s.dilation_w == 1 && s.cin * std::min<int64_t>(vectors, 2) < 8;
    run = merged ? s.kw * s.cin : s.cin;
    taps = merged ? s.kh : s.kh * s.kw;

    // Channels are halved in turn with output channels until the sums fit.
    slabs = parts = 1;
    while (taps * widest_slab() * widest_part() * static_cast<int64_t>(sizeof(T)) > kSumBytes) {
      const bool wide = ceil_div(std::max<int64_t>(vectors / 2, 1), parts) > 1;  // what parts are cut from: pairs
      if (widest_slab() > 16 && (widest_slab() >= widest_part() || !wide) && !merged) {
        slabs *= 2;
      } else if (wide) {
        parts *= 2;
      } else {
        break;
      }
    }
    const int64_t pixel = (widest_slab() + widest_part()) * sizeof(T);
    tiles = Tiles(s, std::clamp<int64_t>(kTileBytes / pixel, 32, kTilePixels));

    const int64_t others = s.lanes * s.groups * slabs * parts;
    const int64_t work = s.multiply_adds() / s.groups / slabs / parts;
    chunks = std::max<int64_t>(std::min({kChunks / others, tiles.count(), work / kUnitWork}), 1);
    units = others * chunks;
    tasks = std::min({units, kTasks, std::max<int64_t>(s.lanes * s.multiply_adds() / kUnitWork, 1)});

    copied = merged || s.groups * s.cin * s.stride_w * static_cast<int64_t>(sizeof(T)) > kFarBytes;
    packed = s.groups > 1 || vectors > kMaxVectors || s.group_cout() % kWidth != 0;
    direct = chunks == 1 && s.group_cout() % kWidth == 0;
    const int64_t lines = (ceil_div(s.oh, tiles.rows) - 1) * s.stride_h + (s.kh - 1) * s.dilation_h + 1;
    const int64_t pixels = ceil_div(s.n, tiles.images) * std::min(lines, s.h) * reach(ceil_div(s.ow, tiles.columns));
    image = copied ? pixels * (merged ? s.cin : widest_slab()) : 0;
    panel = packed ? tiles.largest() * widest_part() : 0;
    sums = direct ? 0 : taps * widest_slab() * widest_part();
  }

  // Columns of x under the taps of so many columns of pixels.
  int64_t reach(int64_t columns) const { return (columns - 1) * s.stride_w + (s.kw - 1) * s.dilation_w + 1; }

  Range slab(int64_t i) const { return part(run, slabs, i); }
  int64_t widest_slab() const { return ceil_div(run, slabs); }

  // Vectors of a part, in blocks of two, the last of three if the number is odd.
  Range vectors_of(int64_t i) const {
    const Range pairs = part(std::max<int64_t>(vectors / 2, 1), parts, i);
    return {2 * pairs.begin, i + 1 == parts ? vectors : 2 * pairs.end};
  }
  int64_t widest_part() const { return (2 * ceil_div(std::max<int64_t>(vectors / 2, 1), parts) + 1) * kWidth; }

  static int64_t rounded(int64_t entries) { return (entries + kWidth - 1) / kWidth * kWidth; }
  int64_t slot() const { return rounded(image) + rounded(panel) + (chunks == 1 ? rounded(sums) : 0); }
  int64_t partials() const { return chunks > 1 ? units * rounded(sums) : 0; }
  int64_t bytes() const { return (tasks * slot() + partials()) * sizeof(T) + kVectorBytes; }
};

// Memory that will be read soon, asked for bit by bit.
struct Ahead {
  static constexpr int64_t kLine = 64;

  const char *next, *end;
  int64_t step;

  void fetch() {
    const char* stop = next + std::min(step, end - next);
    for (; next < stop; next += kLine) __builtin_prefetch(next, 0, 2);
  }
};

template <class T>
struct KernelGradient {
  using S = Simd<T>;
  Plan<T> plan;
  const Convolution& s = plan.s;
  const T *x, *y;
  T *k, *slots, *partials;

  KernelGradient(const Convolution& sizes, const T* x, const T* y, T* k, void* workspace)
      : plan(sizes), x(x), y(y), k(k), slots(aligned<T>(workspace)), partials(slots + plan.tasks * plan.slot()) {}

  // Work is shared out by run(number, function of an index).
  template <class Run>
  void operator()(const Run& run) const {
    run(plan.tasks, [&](int64_t task) {
      for (int64_t unit = task; unit < plan.units; unit += plan.tasks) sum_unit(unit, slots + task * plan.slot());
    });
    if (plan.chunks == 1) return;
    const int64_t rows = plan.taps * plan.widest_slab(), pieces = ceil_div(rows * plan.widest_part(), 1 << 14);
    run(plan.units / plan.chunks * pieces, [&](int64_t task) {
      const Unit u = unit_at(task / pieces * plan.chunks);
      add_up(u, partials + u.number * plan.rounded(plan.sums), pieces, task % pieces);
    });
  }

  struct Unit {
    int64_t number, lane, group, chunk;
    Range slab, vectors;
  };
  Unit unit_at(int64_t i) const {
    const int64_t block = i / plan.chunks, lane_group = block / plan.parts / plan.slabs;
    return {i, lane_group / s.groups, lane_group % s.groups, i % plan.chunks,
            plan.slab(block / plan.parts % plan.slabs), plan.vectors_of(block % plan.parts)};
  }

  // Where a matrix of sums lies: those of channel c of a tap begin at (tap * run + c) * stride.
  struct Sums {
    T* at;
    int64_t run, stride;
  };
  Sums result(const Unit& u) const {
    const int64_t o = u.group * s.group_cout() + u.vectors.begin * S::width;
    return {k + u.lane * s.kernel_size() + u.slab.begin * s.cout + o, plan.run, s.cout};
  }
  Sums own(const Unit& u, T* at) const { return {at, u.slab.size(), u.vectors.size() * S::width}; }

  void sum_unit(int64_t number, T* slot) const {
    const Unit u = unit_at(number);
    T* image = slot;
    T* panel = image + plan.rounded(plan.image);
    T* scratch = plan.chunks > 1 ? partials + number * plan.rounded(plan.sums) : panel + plan.rounded(plan.panel);
    const Sums sums = plan.direct ? result(u) : own(u, scratch);
    const Range tiles = part(plan.tiles.count(), plan.chunks, u.chunk);
    for (int64_t i = tiles.begin; i < tiles.end; ++i) {
      sum_tile(u, plan.tiles[i], plan.tiles[std::min(i + 1, tiles.end - 1)], image, panel, sums, i == tiles.begin);
    }
    if (plan.chunks == 1 && !plan.direct) add_up(u, scratch, 1, 0);
  }

  // y at the tile's first pixel. A tile's pixels lie side by side.
  const T* y_at(const Unit& u, const Tile& tile) const {
    const T* ys = y + (s.second_laned ? u.lane * s.y_size() : 0);
    return ys + ((tile.images.begin * s.oh + tile.rows.begin) * s.ow + tile.columns.begin) * s.cout;
  }

  void sum_tile(const Unit& u, const Tile& tile, const Tile& next, T* image, T* panel, const Sums& sums,
                bool first) const {
    // x at (tile.images.begin, 0, 0), the first channel of the slab: in place, or the copy, whose columns begin at the
    // first tap of the first pixel.
    int64_t x_pixel = s.groups * s.cin, x_line = s.w * x_pixel, left = s.pad_left;
    const T* xs = x + (s.first_laned ? u.lane * s.x_size() : 0) + u.group * s.cin + (plan.merged ? 0 : u.slab.begin);
    xs += tile.images.begin * s.h * x_line;
    int64_t x_image = s.h * x_line;
    if (plan.copied) {
      const int64_t begin = tile.rows.begin * s.stride_h - s.pad_top;
      const int64_t height = (tile.rows.size() - 1) * s.stride_h + (s.kh - 1) * s.dilation_h + 1;
      const Range lines = Range{begin, begin + height} & Range{0, s.h};
      x_pixel = plan.merged ? s.cin : u.slab.size();
      x_line = plan.reach(tile.columns.size()) * x_pixel;
      x_image = lines.size() * x_line;
      left = tile.columns.begin * s.stride_w;
      copy_image(xs, tile, lines, x_pixel, image);
      xs = image - lines.begin * x_line;
    }
    const T* ys = y_at(u, tile);
    if (plan.packed) {
      copy_panel(ys + u.group * s.group_cout() + u.vectors.begin * S::width, tile.pixels(), u.vectors, panel);
      ys = panel;
    }
    // The next tile's y comes while this one is summed up, a little before every block of sums.
    const char* soon = reinterpret_cast<const char*>(y_at(u, next));
    const bool wanted = plan.parts * s.groups == 1;
    const int64_t calls = plan.taps * ceil_div(plan.run, channels_beside(2)) * ceil_div(plan.vectors, 2);
    const int64_t bytes = wanted ? next.pixels() * s.cout * sizeof(T) : 0;
    Ahead ahead{soon, soon + bytes, ceil_div(bytes, calls)};

    for (int64_t v = u.vectors.begin; v < u.vectors.end;) {
      const int64_t rest = u.vectors.end - v, block = rest <= 3 ? rest : 2, width = block * S::width;
      const int64_t most = channels_beside(block), blocks = ceil_div(u.slab.size(), most);
      for (int64_t tap = 0; tap < plan.taps; ++tap) {
        const int64_t a = plan.merged ? tap : tap / s.kw, b = plan.merged ? 0 : tap % s.kw;
        const int64_t line = a * s.dilation_h - s.pad_top, place = b * s.dilation_w - s.pad_left;
        const Range rows = tile.rows & inside(line, s.stride_h, s.h);
        const Range columns = plan.merged ? tile.columns : tile.columns & inside(place, s.stride_w, s.w);
        if (!first && rows.size() * columns.size() == 0) continue;
        const int64_t y_row = tile.columns.size() * width;
        const Walk walk{tile.images.size(),          rows.size(),         columns.size(),
                        x_image,                     s.stride_h * x_line, s.stride_w * x_pixel,
                        tile.rows.size() * y_row,    y_row,               width};
        const Walk joined = walk.joined();
        const int64_t column = columns.begin * s.stride_w + b * s.dilation_w - left;
        const T* xt = xs + (rows.begin * s.stride_h + line) * x_line + column * x_pixel;
        const T* yt = ys + (rows.begin - tile.rows.begin) * y_row + (columns.begin - tile.columns.begin) * width;
        T* at = sums.at + tap * sums.run * sums.stride + (v - u.vectors.begin) * S::width;
        for (int64_t i = 0; i < blocks; ++i) {
          const Range c = part(u.slab.size(), blocks, i);
          ahead.fetch();
          T* block_sums = at + c.begin * sums.stride;
          outer_products_for<T>(c.size(), block)(joined, xt + c.begin, yt, block_sums, sums.stride, first);
        }
      }
      ys += tile.pixels() * width;
      v += block;
    }
  }

  // The tile's lines of x, widened by zeros to all columns that a tap sees; only `channels` of them.
  void copy_image(const T* from, const Tile& tile, Range lines, int64_t channels, T* to) const {
    const int64_t pixel = s.groups * s.cin, begin = tile.columns.begin * s.stride_w - s.pad_left;
    const int64_t width = plan.reach(tile.columns.size());
    const Range seen = Range{begin, begin + width} & Range{0, s.w};
    for (int64_t n = 0; n < tile.images.size(); ++n) {
      for (int64_t i = lines.begin; i < lines.end; ++i, to += width * channels) {
        if (seen.size() < width) std::fill(to, to + width * channels, T(0));
        const T* line = from + (n * s.h + i) * s.w * pixel;
        if (channels == pixel) {
          std::copy_n(line + seen.begin * pixel, seen.size() * pixel, to + (seen.begin - begin) * channels);
        } else {
          for (int64_t j = seen.begin; j < seen.end; ++j) {
            std::copy_n(line + j * pixel, channels, to + (j - begin) * channels);
          }
        }
      }
    }
  }

  // Blocks of output channels, each with its pixels side by side; channels beyond the last as zero.
  void copy_panel(const T* from, int64_t pixels, Range vectors, T* to) const {
    const int64_t have = s.group_cout() - vectors.begin * S::width;
    for (int64_t pixel = 0; pixel < pixels; ++pixel, from += s.cout) {
      T* block = to;
      for (int64_t v = 0; v < vectors.size();) {
        const int64_t rest = vectors.size() - v, size = rest <= 3 ? rest : 2;
        for (int64_t i = 0; i < size; ++i, ++v) {
          T* at = block + (pixel * size + i) * S::width;
          if ((v + 1) * S::width <= have) {
            S::store(at, S::load(from + v * S::width));
          } else {
            for (int64_t o = 0; o < S::width; ++o) at[o] = v * S::width + o < have ? from[v * S::width + o] : T(0);
          }
        }
        block += pixels * size * S::width;
      }
    }
  }

  // Sum the sums of a block's chunks into a piece of the result.
  void add_up(const Unit& u, T* sums, int64_t pieces, int64_t piece) const {
    const Sums to = result(u), from = own(u, sums);
    const int64_t have = std::min(from.stride, s.group_cout() - u.vectors.begin * S::width);
    const Range rows = part(plan.taps * from.run, pieces, piece);
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      T* k = to.at + (row / from.run * to.run + row % from.run) * to.stride;
      for (int64_t o = 0; o < have; ++o) {
        T sum = 0;
        for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) {
          sum += from.at[chunk * plan.rounded(plan.sums) + row * from.stride + o];
        }
        k[o] = sum;
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
  if (static_cast<int64_t>(x.element_count()) != (s.first_laned ? s.lanes : 1) * s.x_size() ||
      static_cast<int64_t>(y.element_count()) != (s.second_laned ? s.lanes : 1) * s.y_size() ||
      static_cast<int64_t>(k->element_count()) != s.lanes * s.kernel_size() ||
      static_cast<int64_t>(workspace->element_count()) < workspace_bytes<T>(s)) {
    return ffi::Error::InvalidArgument("conv_kernel: the arrays do not have the sizes of the geometry");
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
