// Convolution as a matrix product whose rows are gathered: for every tap a pointer to the channels of each pixel.
//
// Output and input gradient are one computation. A target pixel adds up, over the taps that reach it, a source pixel's
// channels times a matrix of the kernel. For the input gradient the source is y, the matrices are transposed, and the
// target pixels of one remainder by the stride make a pass of their own, for they see the same taps: nothing is ever
// multiplied with zeros between the pixels of y.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "convolution.h"
#include "simd.h"

namespace jax231 {

// Pixel `start + step * t` of the target, for t in [0, count), reads the source at `reach * t + offset` for every tap.
struct Axis {
  struct Tap {
    int64_t offset;
    int64_t index;  // in the kernel
  };
  int64_t count, start, step, reach, source;
  std::vector<Tap> taps;  // by ascending offset
};

inline Axis output_axis(int64_t size, int64_t window, int64_t output, int64_t stride, int64_t pad, int64_t dilation) {
  Axis axis{output, 0, 1, stride, size, {}};
  for (int64_t i = 0; i < window; ++i) axis.taps.push_back({i * dilation - pad, i});
  return axis;
}

// The pixels start, start + stride, ... of the image.
inline Axis input_axis(int64_t size, int64_t window, int64_t output, int64_t stride, int64_t pad, int64_t dilation,
                       int64_t start) {
  Axis axis{std::max<int64_t>(0, (size - start + stride - 1) / stride), start, stride, 1, output, {}};
  for (int64_t i = window - 1; i >= 0; --i) {
    const int64_t from = start + pad - i * dilation;
    if (from % stride == 0) axis.taps.push_back({from / stride, i});
  }
  return axis;
}

// Rows and columns of every pass over the target.
inline std::vector<std::pair<Axis, Axis>> axes_of(const Convolution& c, bool transposed) {
  std::vector<std::pair<Axis, Axis>> axes;
  if (!transposed) {
    axes.emplace_back(output_axis(c.h, c.kh, c.oh, c.stride_h, c.pad_top, c.dilation_h),
                      output_axis(c.w, c.kw, c.ow, c.stride_w, c.pad_left, c.dilation_w));
    return axes;
  }
  for (int64_t i = 0; i < c.stride_h; ++i) {
    for (int64_t j = 0; j < c.stride_w; ++j) {
      axes.emplace_back(input_axis(c.h, c.kh, c.oh, c.stride_h, c.pad_top, c.dilation_h, i),
                        input_axis(c.w, c.kw, c.ow, c.stride_w, c.pad_left, c.dilation_w, j));
    }
  }
  return axes;
}

// A part of the sum over taps and channels: short enough for its panel of the kernel to stay in the nearer caches.
struct Slice {
  int64_t y_begin, y_end, x_begin, x_end, c_begin, c_end;
  int64_t panel;  // where its matrices begin, in rows of a panel
};

struct Pass {
  Axis y, x;
  bool runs;  // the taps of one row lie side by side in memory and are read as one
  std::vector<Slice> slices;
  int64_t first_task, chunk, chunks;  // pixels of a task, and tasks for a lane, group and part
};

template <class T>
struct Gather {
  static constexpr int kWidth = Simd<T>::width;
  static constexpr int kVectors = kRegisters >= 32 ? 4 : 2;  // of target channels, in one tile
  static constexpr int kTaps = 64;                           // in one slice
  static constexpr int kDepth = 512;                         // channels in one slice
  static constexpr int64_t kPanelBytes = 96 << 10;           // of one slice: it streams from the second cache
  static constexpr int64_t kRunChannels = 8;                 // below it the taps of a row are read as one
  static constexpr int64_t kRunsSize = 256;                  // at most, of all runs of a pixel

  // Pixels of a tile: as many as leave registers for the kernel's vectors and one broadcast.
  static constexpr int rows(int vectors) { return 12 * vectors <= kRegisters - 4 ? 12 : 6; }

  const Convolution& c;
  bool transposed;               // the input gradient
  int64_t depth, width;          // channels of one group: of the source, of the target
  int64_t source_h, source_w, target_h, target_w;
  int64_t source_pixel, target_pixel;  // channels of all groups
  int64_t vectors, blocks;       // of the target channels of a group
  int64_t images;                // that take turns pixel by pixel
  int64_t parts;                 // into which the blocks are cut
  std::vector<Pass> passes;
  int64_t tasks = 0;

  Gather(const Convolution& c, bool transposed) : c(c), transposed(transposed) {
    depth = transposed ? c.group_cout() : c.cin;
    width = transposed ? c.cin : c.group_cout();
    source_h = transposed ? c.oh : c.h;
    source_w = transposed ? c.ow : c.w;
    target_h = transposed ? c.h : c.oh;
    target_w = transposed ? c.w : c.ow;
    source_pixel = c.groups * depth;
    target_pixel = c.groups * width;
    vectors = (width + kWidth - 1) / kWidth;
    blocks = (vectors + kVectors - 1) / kVectors;
    plan();
  }

  static int64_t workspace(const Convolution& c, bool transposed) {
    const int64_t depth = transposed ? c.group_cout() : c.cin, width = transposed ? c.cin : c.group_cout();
    return c.groups * c.kh * c.kw * depth * ((width + kWidth - 1) / kWidth * kWidth) * sizeof(T);
  }

  int64_t panel_size() const { return c.kh * c.kw * depth; }  // rows
  int64_t packed_size() const { return c.groups * panel_size() * vectors * kWidth; }

  void plan() {
    for (auto& [y, x] : axes_of(c, transposed)) passes.push_back({y, x, false, {}, 0, 0, 0});
    // Neighbouring images take turns where the edge of an image is a good part of it: a tile then holds one pixel of
    // several images, and taps outside the image are left out for all of them.
    const int64_t tile = rows(static_cast<int>(std::min<int64_t>(vectors, kVectors)));
    images = c.n >= tile && target_h * target_w <= 1024 ? tile : 1;

    int64_t panel = 0, pixels = 0;
    for (Pass& pass : passes) {
      const int64_t ny = pass.y.taps.size(), nx = pass.x.taps.size();
      pass.runs = c.groups == 1 && depth < kRunChannels && nx > 1 && ny * nx * depth <= kRunsSize;
      for (int64_t j = 1; j < nx; ++j) pass.runs &= pass.x.taps[j].offset == pass.x.taps[j - 1].offset + 1;
      const int64_t y_step = std::max<int64_t>(1, kTaps / std::max<int64_t>(1, nx));
      const int64_t taps = std::min(ny, y_step) * std::min<int64_t>(nx, kTaps);
      const int64_t row_bytes = std::min<int64_t>(vectors, kVectors) * kVectorBytes;
      int64_t c_step = std::clamp<int64_t>(kPanelBytes / std::max<int64_t>(1, taps * row_bytes) / 8 * 8, 16, kDepth);
      const int64_t cuts = (depth + c_step - 1) / c_step;
      if (cuts > 1) c_step = ((depth + cuts - 1) / cuts + 7) / 8 * 8;
      if (pass.runs) c_step = depth;
      for (int64_t i = 0; i < ny; i += y_step) {
        for (int64_t j = 0; j < nx; j += kTaps) {
          for (int64_t k = 0; k < depth; k += c_step) {
            const int64_t y_end = std::min(i + y_step, ny), x_end = std::min(j + kTaps, nx);
            const Slice s{i, y_end, j, x_end, k, std::min(k + c_step, depth), panel};
            panel += (s.y_end - s.y_begin) * (s.x_end - s.x_begin) * (s.c_end - s.c_begin);
            pass.slices.push_back(s);
          }
        }
      }
      if (pass.slices.empty()) pass.slices.push_back({0, 0, 0, 0, 0, 0, panel});
      pixels += c.n * pass.y.count * pass.x.count;
    }

    // Tasks are cut by shape alone, so that the bits of the result do not depend on the number of threads.
    const int64_t work = c.multiply_adds() / c.groups;  // of one group
    const int64_t pieces = std::clamp<int64_t>(c.lanes * c.groups * work / 200000, 1, 64) / (c.lanes * c.groups);
    parts = 1;
    for (Pass& pass : passes) {
      const int64_t all = c.n * pass.y.count * pass.x.count;
      int64_t chunk = pieces > 1 ? std::max<int64_t>(512, (pixels + pieces - 1) / pieces) : all;
      const int64_t pixel_bytes = std::max<int64_t>(1, source_pixel * sizeof(T));
      chunk = std::min<int64_t>(chunk, std::max<int64_t>(512, (512 << 10) / pixel_bytes));
      chunk = std::max<int64_t>(1, (chunk + 11) / 12 * 12);
      pass.chunk = chunk;
      pass.chunks = (all + chunk - 1) / chunk;
    }
    int64_t chunks = 0;
    for (const Pass& pass : passes) chunks += pass.chunks;
    if (chunks > 0 && pieces > chunks) {
      parts = std::min<int64_t>(blocks, (std::min<int64_t>(pieces, 8) + chunks - 1) / chunks);
    }
    for (Pass& pass : passes) {
      pass.first_task = tasks;
      tasks += pass.chunks * parts * c.groups;
    }
  }

  // The kernel as panels: for each block of target channels, the rows of its matrices in the order of their use.
  void pack(const T* kernel, T* packed, int64_t group, int64_t block) const {
    const int64_t first = block * kVectors * kWidth;
    const int64_t row = std::min<int64_t>(kVectors, vectors - block * kVectors) * kWidth;
    const int64_t valid = std::min(row, width - first);
    T* out = packed + group * panel_size() * vectors * kWidth + first * panel_size();
    for (const Pass& pass : passes) {
      for (const Slice& s : pass.slices) {
        for (int64_t i = s.y_begin; i < s.y_end; ++i) {
          for (int64_t j = s.x_begin; j < s.x_end; ++j) {
            const T* matrix = kernel + (pass.y.taps[i].index * c.kw + pass.x.taps[j].index) * c.cin * c.cout +
                              group * c.group_cout();
            const int64_t count = s.c_end - s.c_begin;
            if (!transposed) {
              for (int64_t k = 0; k < count; ++k) {
                std::memcpy(out + k * row, matrix + (s.c_begin + k) * c.cout + first, valid * sizeof(T));
                std::fill(out + k * row + valid, out + (k + 1) * row, T(0));
              }
            } else {
              for (int64_t o = 0; o < row; ++o) {
                const T* from = matrix + (first + o) * c.cout + s.c_begin;
                if (o < valid) {
                  for (int64_t k = 0; k < count; ++k) out[k * row + o] = from[k];
                } else {
                  for (int64_t k = 0; k < count; ++k) out[k * row + o] = T(0);
                }
              }
            }
            out += count * row;
          }
        }
      }
    }
  }

  // --- tiles ---

  struct Operands {
    const T* source;  // of the lane and group
    const T* packed;
    T* target;
  };

  // A place in the order of the target pixels of a pass: blocks of images, rows, columns, images of the block.
  struct Cursor {
    int64_t image, in_turn, turn, y, x;
    const T* source;
    T* target;
  };

  void point(const Operands& a, const Pass& pass, Cursor& at) const {
    at.source = a.source + ((at.image * source_h + at.y * pass.y.reach) * source_w + at.x * pass.x.reach) * source_pixel;
    at.target = a.target + ((at.image * target_h + pass.y.start + at.y * pass.y.step) * target_w + pass.x.start +
                            at.x * pass.x.step) * target_pixel;
  }

  Cursor cursor(const Operands& a, const Pass& pass, int64_t pixel) const {
    Cursor at;
    const int64_t area = pass.y.count * pass.x.count;
    at.image = pixel / (images * area) * images;
    pixel -= at.image * area;
    at.in_turn = std::min(images, c.n - at.image);
    at.turn = pixel % at.in_turn;
    at.y = pixel / at.in_turn / pass.x.count;
    at.x = pixel / at.in_turn % pass.x.count;
    point(a, pass, at);
    return at;
  }

  void advance(const Operands& a, const Pass& pass, Cursor& at) const {
    if (++at.turn < at.in_turn) return;
    at.turn = 0;
    if (++at.x < pass.x.count) {
      at.source += pass.x.reach * source_pixel;
      at.target += pass.x.step * target_pixel;
      return;
    }
    at.x = 0;
    if (++at.y == pass.y.count) {
      at.y = 0;
      at.image += at.in_turn;
      at.in_turn = std::min(images, c.n - at.image);
    }
    point(a, pass, at);
  }

  // A tap that all pixels of a tile have: where its matrix is, and how far, in channels, from a pixel its source is.
  struct Move {
    int64_t matrix, source;
  };

  // Pixels of a tile and the taps of each: one list for all of them or, at an edge, an address a tap and pixel.
  template <int kRows>
  struct Tile {
    int64_t y[kRows], x[kRows];
    int64_t y_low, y_high, x_low, x_high;
    int64_t source[kRows];  // addresses
    T* target[kRows];
    int64_t taps, channels;
    Move moves[kTaps];
    int64_t addresses[kTaps][kRows];
    T edge[kRows * kRunsSize];  // runs that reach over the edge of the image
  };

  static const T* zeros() {
    alignas(64) static const T row[kDepth] = {};
    return row;
  }

  template <int kRows>
  void place(const Operands& a, const Pass& pass, Cursor& at, int count, Tile<kRows>& tile) const {
    tile.y_low = tile.y_high = at.y * pass.y.reach;
    tile.x_low = tile.x_high = at.x * pass.x.reach;
    if (count == kRows && at.turn + kRows <= at.in_turn) {  // the same pixel of several images
      const int64_t from = source_h * source_w * source_pixel, to = target_h * target_w * target_pixel;
      for (int p = 0; p < kRows; ++p) {
        tile.source[p] = reinterpret_cast<int64_t>(at.source + (at.turn + p) * from);
        tile.target[p] = at.target + (at.turn + p) * to;
        tile.y[p] = tile.y_low;
        tile.x[p] = tile.x_low;
      }
      at.turn += kRows - 1;
      return advance(a, pass, at);
    }
    if (images == 1 && count == kRows && at.x + kRows <= pass.x.count) {  // side by side
      const int64_t from = pass.x.reach * source_pixel, to = pass.x.step * target_pixel;
      for (int p = 0; p < kRows; ++p) {
        tile.source[p] = reinterpret_cast<int64_t>(at.source + p * from);
        tile.target[p] = at.target + p * to;
        tile.y[p] = tile.y_low;
        tile.x[p] = tile.x_low + p * pass.x.reach;
      }
      tile.x_high = tile.x[kRows - 1];
      at.x += kRows - 1;
      at.source += (kRows - 1) * from;
      at.target += (kRows - 1) * to;
      return advance(a, pass, at);
    }
    for (int p = 0; p < kRows; ++p) {
      if (p >= count) {  // a stand-in, kept nowhere
        tile.y[p] = tile.y[0];
        tile.x[p] = tile.x[0];
        tile.source[p] = tile.source[0];
        continue;
      }
      tile.y[p] = at.y * pass.y.reach;
      tile.x[p] = at.x * pass.x.reach;
      tile.y_low = std::min(tile.y_low, tile.y[p]);
      tile.y_high = std::max(tile.y_high, tile.y[p]);
      tile.x_low = std::min(tile.x_low, tile.x[p]);
      tile.x_high = std::max(tile.x_high, tile.x[p]);
      tile.source[p] = reinterpret_cast<int64_t>(at.source + at.turn * source_h * source_w * source_pixel);
      tile.target[p] = at.target + at.turn * target_h * target_w * target_pixel;
      advance(a, pass, at);
    }
  }

  // Whether some of the pixels have this tap, and all of them.
  static bool some(const Axis& axis, int64_t low, int64_t high, int64_t tap) {
    return high + axis.taps[tap].offset >= 0 && low + axis.taps[tap].offset < axis.source;
  }
  static bool all(const Axis& axis, int64_t low, int64_t high, int64_t tap) {
    return low + axis.taps[tap].offset >= 0 && high + axis.taps[tap].offset < axis.source;
  }

  // The taps in [first, second) that some pixel has; false if one of them is not all pixels'.
  static bool shared(const Axis& axis, int64_t low, int64_t high, int64_t& first, int64_t& second) {
    while (first < second && !some(axis, low, high, first)) ++first;
    while (first < second && !some(axis, low, high, second - 1)) --second;
    return first == second || (all(axis, low, high, first) && all(axis, low, high, second - 1));
  }

  // The taps of the tile as moves, if its pixels have the same ones.
  template <int kRows>
  bool move(const Pass& pass, const Slice& s, int64_t row, Tile<kRows>& tile) const {
    int64_t y_begin = s.y_begin, y_end = s.y_end, x_begin = s.x_begin, x_end = s.x_end;
    if (!shared(pass.y, tile.y_low, tile.y_high, y_begin, y_end)) return false;
    if (!shared(pass.x, tile.x_low, tile.x_high, x_begin, x_end)) return false;
    const int64_t depth_here = s.c_end - s.c_begin, columns = s.x_end - s.x_begin;
    const int64_t step = pass.runs ? x_end - x_begin : 1;
    tile.taps = 0;
    tile.channels = step * depth_here;
    if (x_begin == x_end) return true;
    for (int64_t i = y_begin; i < y_end; ++i) {
      const int64_t line = pass.y.taps[i].offset * source_w, matrices = (i - s.y_begin) * columns - s.x_begin;
      for (int64_t j = x_begin; j < x_end; j += step) {
        tile.moves[tile.taps++] = {(matrices + j) * depth_here * row,
                                   (line + pass.x.taps[j].offset) * source_pixel + s.c_begin};
      }
    }
    return true;
  }

  // The taps of a tile at an edge: zeros stand for what is outside.
  template <int kRows>
  void gather(const Pass& pass, const Slice& s, int64_t row, Tile<kRows>& tile) const {
    const int64_t zero = reinterpret_cast<int64_t>(zeros());
    const int64_t depth_here = s.c_end - s.c_begin, columns = s.x_end - s.x_begin, span = pass.runs ? columns : 1;
    tile.taps = 0;
    tile.channels = span * depth_here;
    T* edge = tile.edge;
    for (int64_t i = s.y_begin; i < s.y_end; ++i) {
      if (!some(pass.y, tile.y_low, tile.y_high, i)) continue;
      for (int64_t j = s.x_begin; j < s.x_end; j += span) {
        const int64_t y_offset = pass.y.taps[i].offset, x_offset = pass.x.taps[j].offset;
        const int64_t move = (y_offset * source_w + x_offset) * source_pixel + s.c_begin;
        int64_t* address = tile.addresses[tile.taps];
        for (int p = 0; p < kRows; ++p) {
          const uint64_t y = tile.y[p] + y_offset, x = tile.x[p] + x_offset;
          const int64_t inside = -static_cast<int64_t>((y < static_cast<uint64_t>(source_h)) &
                                                       (x + span - 1 < static_cast<uint64_t>(source_w)));
          address[p] = zero + ((tile.source[p] + move * static_cast<int64_t>(sizeof(T)) - zero) & inside);
        }
        if (pass.runs) {
          for (int p = 0; p < kRows; ++p) {
            const int64_t y = tile.y[p] + y_offset, x = tile.x[p] + x_offset;
            const int64_t left = std::max<int64_t>(0, -x), right = std::min(span, source_w - x);
            if (y < 0 || y >= source_h || (left == 0 && right == span)) continue;
            address[p] = reinterpret_cast<int64_t>(edge);
            std::fill(edge, edge + span * depth, T(0));
            if (left < right) {
              const int64_t from = tile.source[p] + (move + left * depth) * static_cast<int64_t>(sizeof(T));
              std::memcpy(edge + left * depth, reinterpret_cast<const T*>(from), (right - left) * depth * sizeof(T));
            }
            edge += span * depth;
          }
        }
        tile.moves[tile.taps++] = {((i - s.y_begin) * columns + j - s.x_begin) * depth_here * row, 0};
      }
    }
  }

  // target[p] (+)= the sum over taps and channels; kRows x kV vectors stay in registers.
  template <int kV, int kRows, bool kMoves, class Tile>
  static __attribute__((noinline)) void multiply(const Tile& tile, const T* panel, int64_t channel, int count, int last,
                                                 bool add) {
    using S = Simd<T>;
    typename S::Vector sum[kRows][kV];
#pragma GCC unroll 16
    for (int p = 0; p < kRows; ++p) {
#pragma GCC unroll 4
      for (int v = 0; v < kV; ++v) sum[p][v] = typename S::Vector{};
    }
    const int64_t taps = tile.taps, channels = tile.channels;
    const char* source[kRows];
    if constexpr (kMoves) {
#pragma GCC unroll 16
      for (int p = 0; p < kRows; ++p) source[p] = reinterpret_cast<const char*>(tile.source[p]);
    }
    for (int64_t t = 0; t < taps; ++t) {
      const T* matrix = panel + tile.moves[t].matrix;
      int64_t at = kMoves ? tile.moves[t].source : 0;
      if constexpr (!kMoves) {
#pragma GCC unroll 16
        for (int p = 0; p < kRows; ++p) source[p] = reinterpret_cast<const char*>(tile.addresses[t][p]);
      }
      for (const int64_t end = at + channels; at < end; ++at, matrix += kV * kWidth) {
        typename S::Vector b[kV];
#pragma GCC unroll 4
        for (int v = 0; v < kV; ++v) b[v] = S::load(matrix + v * kWidth);
#pragma GCC unroll 16
        for (int p = 0; p < kRows; ++p) {
          const auto x = S::broadcast(*reinterpret_cast<const T*>(source[p] + at * static_cast<int64_t>(sizeof(T))));
#pragma GCC unroll 4
          for (int v = 0; v < kV; ++v) sum[p][v] += x * b[v];
        }
      }
    }
    if (!add && count == kRows && last == kWidth) {
#pragma GCC unroll 16
      for (int p = 0; p < kRows; ++p) {
#pragma GCC unroll 4
        for (int v = 0; v < kV; ++v) S::store(tile.target[p] + channel + v * kWidth, sum[p][v]);
      }
      return;
    }
    typename S::Vector kept[kRows][kV];  // in memory, for the loops of the rarer ends
#pragma GCC unroll 16
    for (int p = 0; p < kRows; ++p) {
#pragma GCC unroll 4
      for (int v = 0; v < kV; ++v) kept[p][v] = sum[p][v];
    }
    for (int p = 0; p < count; ++p) {
      T* to = tile.target[p] + channel;
      for (int v = 0; v + 1 < kV; ++v) {
        S::store(to + v * kWidth, add ? S::load(to + v * kWidth) + kept[p][v] : kept[p][v]);
      }
      T* end = to + (kV - 1) * kWidth;
      const typename S::Vector tail = kept[p][kV - 1];
      S::store_first(end, add ? S::load_first(end, last) + tail : tail, last);
    }
  }

  template <int kV, int kRows, class Tile>
  static void multiply_rows(const Tile& tile, const T* panel, int64_t channel, int count, int last, bool add) {
    if constexpr (kRows > 1) {
      constexpr int kLess = kRows / 2;
      if (count <= kLess) return multiply_rows<kV, kLess>(tile, panel, channel, count, last, add);
    }
    multiply<kV, kRows, true>(tile, panel, channel, count, last, add);
  }

  // One slice of the sum for the pixels [begin, end) and the blocks [first, second), each of kV vectors of channels.
  template <int kV>
  void sweep(const Operands& a, const Pass& pass, const Slice& s, bool add, int64_t first, int64_t second, int64_t begin,
             int64_t end) const {
    constexpr int kRows = rows(kV);
    constexpr int64_t kBlock = kVectors * kWidth;
    const int64_t channels = std::min<int64_t>(kV * kWidth, width - (second - 1) * kBlock);
    const int last = static_cast<int>(channels - (kV - 1) * kWidth);
    Operands shifted = a;
    shifted.target += first * kBlock;
    Cursor at = cursor(shifted, pass, begin);
    Tile<kRows> tile;
    for (int64_t pixel = begin; pixel < end; pixel += kRows) {
      const int count = static_cast<int>(std::min<int64_t>(kRows, end - pixel));
      place<kRows>(shifted, pass, at, count, tile);
      const bool moves = move<kRows>(pass, s, kV * kWidth, tile);
      if (!moves) gather<kRows>(pass, s, kV * kWidth, tile);
      for (int64_t block = first; block < second; ++block) {
        const T* panel = a.packed + block * kBlock * panel_size() + s.panel * kV * kWidth;
        const int valid = block + 1 == second ? last : kWidth;
        if (moves) {
          multiply_rows<kV, kRows>(tile, panel, (block - first) * kBlock, count, valid, add);
        } else {
          multiply<kV, kRows, false>(tile, panel, (block - first) * kBlock, count, valid, add);
        }
      }
    }
  }

  template <int kV = kVectors>
  void sweep_vectors(int64_t count, const Operands& a, const Pass& pass, const Slice& s, bool add, int64_t first,
                     int64_t second, int64_t begin, int64_t end) const {
    if constexpr (kV > 1) {
      if (count < kV) return sweep_vectors<kV - 1>(count, a, pass, s, add, first, second, begin, end);
    }
    sweep<kV>(a, pass, s, add, first, second, begin, end);
  }

  void run(int64_t task, const T* source, const T* packed, T* target) const {
    size_t number = passes.size() - 1;
    while (passes[number].first_task > task) --number;
    const Pass& pass = passes[number];
    task -= pass.first_task;
    const int64_t part = task % parts, group = task / parts % c.groups, chunk = task / parts / c.groups;
    const int64_t begin = chunk * pass.chunk, end = std::min(begin + pass.chunk, c.n * pass.y.count * pass.x.count);
    const Operands a{source + group * depth, packed + group * panel_size() * vectors * kWidth, target + group * width};
    // Blocks that find room in a nearer cache together take their turns tile by tile.
    const int64_t panel_bytes = panel_size() * kVectors * kVectorBytes;
    const int64_t step = pass.slices.size() > 1 ? 1 : std::max<int64_t>(1, kPanelBytes / (panel_bytes + 1));
    const int64_t stop = blocks * (part + 1) / parts, whole = std::min(stop, vectors / kVectors);
    for (int64_t block = blocks * part / parts; block < stop;) {
      const int64_t next = block < whole ? std::min(block + step, whole) : block + 1;
      const int64_t count = std::min<int64_t>(kVectors, vectors - block * kVectors);
      for (const Slice& s : pass.slices) {
        sweep_vectors(count, a, pass, s, &s != pass.slices.data(), block, next, begin, end);
      }
      block = next;
    }
  }
};

}  // namespace jax231
