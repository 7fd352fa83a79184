// Recurrences over whole sequences: the networks themselves, and the linear recurrences of their derivatives.
//
// Rows (sequences) are independent: a task takes a block of rows through all steps, so no two threads ever wait for
// each other. A step is a product of the block with the hidden-to-hidden weights, packed once a call into panels as
// wide as two vectors, and the cell, done on the units of one panel while their products are in the first cache.
// Arrays are (lanes, rows, steps, numbers); the weights' columns are `gates` blocks, 1 for rnn, 4 (i f o g) for lstm.
// What the derivatives need of a step are the factors of its linear recurrence,
//
//   dz = b + dh_before wh,   rnn:  dh = k dz        lstm:  dc = f dc_before + ai dzi + af dzf + ag dzg
//                                                          dh = k dc + ao dzo
//
// stored as k, or as ai af ao ag k f. A step that is not alive keeps h and c (and dh and dc).
#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "exponential.h"
#include "kernel.h"
#include "parallel.h"
#include "simd.h"

namespace jax231 {
namespace {

constexpr int kBlock = 32;       // rows of a task at most: enough to hide that the weights come from the third cache
constexpr int64_t kDepth = 256;  // rows of a panel multiplied at a time: they stay in the first cache
constexpr int kTile = (kRegisters - 4) / 2;

template <class T>
constexpr int kPanel = 2 * Simd<T>::width;

// c (Rows, panel) += a (Rows, depth) panel (depth, panel)
template <class T, int Rows>
void multiply(const T* a, int64_t stride, const T* panel, int64_t depth, T* c) {
  using S = Simd<T>;
  typename S::Vector sum[Rows][2];
  for (int r = 0; r < Rows; ++r) {
    for (int j = 0; j < 2; ++j) sum[r][j] = S::load(c + r * kPanel<T> + j * S::width);
  }
  for (int64_t k = 0; k < depth; ++k) {
    const auto first = S::load(panel + k * kPanel<T>), second = S::load(panel + k * kPanel<T> + S::width);
    for (int r = 0; r < Rows; ++r) {
      const T x = a[r * stride + k];
      sum[r][0] += first * x;
      sum[r][1] += second * x;
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int j = 0; j < 2; ++j) S::store(c + r * kPanel<T> + j * S::width, sum[r][j]);
  }
}

template <class T, int... Rows>
constexpr auto multiply_by_rows(std::integer_sequence<int, Rows...>) {
  return std::array{&multiply<T, Rows + 1>...};
}

template <class T>
void multiply_block(const T* a, int64_t stride, const T* panel, int64_t depth, T* c, int rows) {
  static constexpr auto forms = multiply_by_rows<T>(std::make_integer_sequence<int, kTile>());
  const int tiles = (rows + kTile - 1) / kTile;
  for (int64_t k = 0; k < depth; k += kDepth) {
    for (int tile = 0; tile < tiles; ++tile) {
      const int from = rows * tile / tiles, to = rows * (tile + 1) / tiles;
      forms[to - from - 1](a + from * stride + k, stride, panel + k * kPanel<T>, std::min(kDepth, depth - k),
                           c + from * kPanel<T>);
    }
  }
}

// One operand or result; `lane` is 0 where all lanes share it.
template <class T>
struct Array {
  T* data;
  int64_t lane, row;
};

struct Sizes {
  int64_t lanes, n, t, h, gates;
  bool laned_weights, full;

  int64_t groups() const { return laned_weights ? lanes : 1; }  // rows of one group share the weights
  int64_t rows() const { return laned_weights ? n : lanes * n; }
  int64_t blocks() const { return (rows() + kBlock - 1) / kBlock; }
  int64_t cell() const { return gates == 4 ? h : 0; }
  int64_t sources() const { return gates * h + (full ? cell() + h : 0); }  // b, or b e r
  int64_t results() const { return full ? sources() : h; }                 // dh, or dz dc dh
  int64_t factors() const { return gates == 4 ? 6 * h : h; }
  template <class T>
  int64_t panels() const { return (h + kPanel<T> - 1) / kPanel<T>; }
  // A row of what enters a product lies apart from the next by an odd number of cache lines, not in the same set.
  template <class T>
  int64_t stride(int64_t numbers) const { return (numbers + 15) / 16 * 16 + 16; }
};

// The rows of one task.
struct Block {
  int64_t group, first;
  int rows;

  Block(const Sizes& s, int64_t task) : group(task / s.blocks()) {
    const int64_t block = task % s.blocks();
    first = s.rows() * block / s.blocks();
    rows = static_cast<int>(s.rows() * (block + 1) / s.blocks() - first);
  }

  template <class T>
  std::array<T*, kBlock> of(const Sizes& s, const Array<T>& x) const {
    std::array<T*, kBlock> out{};
    for (int r = 0; r < rows; ++r) {
      const int64_t row = first + r;
      const int64_t lane = s.laned_weights ? group : row / s.n;
      out[r] = x.data ? x.data + lane * x.lane + (s.laned_weights ? row : row % s.n) * x.row : nullptr;
    }
    return out;
  }
};

// The panels of unit block u, one a gate g: forward (k, j) = wh[k, g h + u panel + j], for products with wh; backward
// (k, j) = wh[u panel + j, g h + k], for products with its transpose.
template <class T, bool Backward>
void pack(const T* wh, const Sizes& s, int64_t u, T* out) {
  const int64_t from = u * kPanel<T>, units = std::min<int64_t>(kPanel<T>, s.h - from), columns = s.gates * s.h;
  for (int64_t g = 0; g < s.gates; ++g, out += s.h * kPanel<T>) {
    for (int64_t k = 0; k < s.h; ++k) {
      for (int64_t j = 0; j < kPanel<T>; ++j) {
        const T* source = Backward ? wh + (from + j) * columns + g * s.h + k : wh + k * columns + g * s.h + from + j;
        out[k * kPanel<T> + j] = j < units ? *source : T(0);
      }
    }
  }
}

template <class T>
using V = typename Simd<T>::Vector;

template <class T>
[[gnu::noinline]] V<T> load_first(const T* p, int64_t count) {
  return Simd<T>::load_first(p, static_cast<int>(count));
}
template <class T>
[[gnu::noinline]] void store_first(T* p, V<T> v, int64_t count) {
  Simd<T>::store_first(p, v, static_cast<int>(count));
}

// The first `count` numbers, or a whole vector.
template <class T>
inline V<T> load(const T* p, int64_t count) {
  return count >= Simd<T>::width ? Simd<T>::load(p) : load_first(p, count);
}
template <class T>
inline void store(T* p, V<T> v, int64_t count) {
  count >= Simd<T>::width ? Simd<T>::store(p, v) : store_first(p, v, count);
}

template <class T>
struct Run {
  Array<const T> products, h0, c0;
  Array<const bool> alive;
  Array<T> hs, c_end, cs, factors;  // the last two are empty where no derivative is to be taken

  static int64_t scratch(const Sizes& s) { return 2 * kBlock * s.stride<T>(s.h); }

  template <int Gates>
  void operator()(const Sizes& s, const Block& block, const T* panels, T* scratch) const {
    const int64_t h = s.h, stride = s.stride<T>(h);
    const auto p = block.of(s, products), begin = block.of(s, h0), c_begin = block.of(s, c0);
    const auto live = block.of(s, alive);
    const auto y = block.of(s, hs), c = block.of(s, c_end), all_c = block.of(s, cs), all_k = block.of(s, factors);
    T *before = scratch, *after = scratch + kBlock * stride;
    for (int r = 0; r < block.rows; ++r) {
      std::copy_n(begin[r], h, before + r * stride);
      std::copy_n(c_begin[r], s.cell(), c[r]);
    }
    alignas(64) T z[Gates][kBlock * kPanel<T>];
    for (int64_t t = 0; t < s.t; ++t, std::swap(before, after)) {
      for (int64_t from = 0; from < h; from += kPanel<T>) {
        for (int g = 0; g < Gates; ++g) {
          for (int r = 0; r < block.rows; ++r) {
            for (int j = 0; j < kPanel<T>; j += Simd<T>::width) {
              const int64_t count = std::max<int64_t>(h - from - j, 0);
              Simd<T>::store(z[g] + r * kPanel<T> + j, load(p[r] + (t * Gates + g) * h + from + j, count));
            }
          }
          multiply_block(before, stride, panels + (from * Gates + g * kPanel<T>) * h, h, z[g], block.rows);
        }
        for (int r = 0; r < block.rows; ++r) {
          const bool lives = !live[r] || live[r][t];
          for (int64_t j = from; j < std::min<int64_t>(h, from + kPanel<T>); j += Simd<T>::width) {
            const int64_t count = h - j, at = r * kPanel<T> + (j - from);
            V<T> out, cell, k[6] = {};
            if (!lives) {
              out = load(before + r * stride + j, count);
              if (Gates == 4) cell = load(c[r] + j, count);
            } else if (Gates == 1) {
              out = tanh<T>(Simd<T>::load(z[0] + at));
              k[0] = 1 - out * out;
            } else {
              const V<T> i = sigmoid<T>(Simd<T>::load(z[0] + at)), f = sigmoid<T>(Simd<T>::load(z[1 % Gates] + at));
              const V<T> o = sigmoid<T>(Simd<T>::load(z[2 % Gates] + at));
              const V<T> g = tanh<T>(Simd<T>::load(z[3 % Gates] + at));
              const V<T> c_before = load(c[r] + j, count);
              cell = f * c_before + i * g;
              const V<T> flat = tanh<T>(cell);
              out = o * flat;
              k[0] = g * i * (1 - i);
              k[1] = c_before * f * (1 - f);
              k[2] = flat * o * (1 - o);
              k[3] = i * (1 - g * g);
              k[4] = o * (1 - flat * flat);
              k[5] = f;
            }
            store(after + r * stride + j, out, count);
            store(y[r] + t * h + j, out, count);
            if (Gates == 4) store(c[r] + j, cell, count);
            if (all_k[r]) {
              constexpr int kinds = Gates == 4 ? 6 : 1;
              for (int i = 0; i < kinds; ++i) store(all_k[r] + (t * kinds + i) * h + j, k[i], count);
              if (Gates == 4) store(all_c[r] + t * h + j, cell, count);
            }
          }
        }
      }
    }
  }
};

template <class T>
struct Push {
  Array<const T> factors;
  Array<const bool> alive;
  Array<const T> sources, h0, c0;
  Array<T> results, c_end;

  static int64_t scratch(const Sizes& s) { return Run<T>::scratch(s); }

  template <int Gates>
  void operator()(const Sizes& s, const Block& block, const T* panels, T* scratch) const {
    const int64_t h = s.h, stride = s.stride<T>(h);
    const auto k = block.of(s, factors), b = block.of(s, sources), begin = block.of(s, h0), c_begin = block.of(s, c0);
    const auto live = block.of(s, alive);
    const auto x = block.of(s, results), c = block.of(s, c_end);
    T *before = scratch, *after = scratch + kBlock * stride;
    for (int r = 0; r < block.rows; ++r) {
      std::copy_n(begin[r], h, before + r * stride);
      std::copy_n(c_begin[r], s.cell(), c[r]);
    }
    alignas(64) T z[Gates][kBlock * kPanel<T>];
    for (int64_t t = 0; t < s.t; ++t, std::swap(before, after)) {
      for (int64_t from = 0; from < h; from += kPanel<T>) {
        for (int g = 0; g < Gates; ++g) {
          for (int r = 0; r < block.rows; ++r) {
            for (int j = 0; j < kPanel<T>; j += Simd<T>::width) {
              const int64_t count = std::max<int64_t>(h - from - j, 0);
              Simd<T>::store(z[g] + r * kPanel<T> + j, load(b[r] + t * s.sources() + g * h + from + j, count));
            }
          }
          multiply_block(before, stride, panels + (from * Gates + g * kPanel<T>) * h, h, z[g], block.rows);
        }
        for (int r = 0; r < block.rows; ++r) {
          const bool lives = !live[r] || live[r][t];
          const T *now = k[r] + t * s.factors(), *more = b[r] + t * s.sources() + Gates * h;
          T* out = x[r] + t * s.results();
          for (int64_t j = from; j < std::min<int64_t>(h, from + kPanel<T>); j += Simd<T>::width) {
            const int64_t count = h - j, at = r * kPanel<T> + (j - from);
            V<T> dz[Gates], dc{}, dh;
            for (int g = 0; g < Gates; ++g) dz[g] = Simd<T>::load(z[g] + at);
            if (Gates == 4) dc = load(c[r] + j, count);
            if (Gates == 4) {
              if (lives) {
                dc = load(now + 5 * h + j, count) * dc + load(now + j, count) * dz[0] +
                     load(now + h + j, count) * dz[1 % Gates] + load(now + 3 * h + j, count) * dz[3 % Gates];
              }
              if (s.full) dc += load(more + j, count);
            }
            if (!lives) {
              dh = load(before + r * stride + j, count);
            } else if (Gates == 1) {
              dh = load(now + j, count) * dz[0];
            } else {
              dh = load(now + 4 * h + j, count) * dc + load(now + 2 * h + j, count) * dz[2 % Gates];
            }
            if (s.full) dh += load(more + s.cell() + j, count);
            store(after + r * stride + j, dh, count);
            if (Gates == 4) store(c[r] + j, dc, count);
            if (s.full) {
              for (int g = 0; g < Gates; ++g) store(out + g * h + j, dz[g], count);
              if (Gates == 4) store(out + Gates * h + j, dc, count);
            }
            store(out + s.results() - h + j, dh, count);
          }
        }
      }
    }
  }
};

template <class T>
struct Pull {
  Array<const T> factors;
  Array<const bool> alive;
  Array<const T> results, c_end;
  Array<T> sources, h0, c0;

  static int64_t scratch(const Sizes& s) { return kBlock * (s.stride<T>(s.gates * s.h) + s.h + kPanel<T>); }

  template <int Gates>
  void operator()(const Sizes& s, const Block& block, const T* panels, T* scratch) const {
    const int64_t h = s.h, stride = s.stride<T>(Gates * h);
    const auto k = block.of(s, factors), x = block.of(s, results), c_last = block.of(s, c_end);
    const auto live = block.of(s, alive);
    const auto b = block.of(s, sources), begin = block.of(s, h0), c = block.of(s, c0);
    T* after = scratch;                    // dz of the step after
    T* total = scratch + kBlock * stride;  // dh, in blocks of a panel's units
    for (int r = 0; r < block.rows; ++r) std::copy_n(c_last[r], s.cell(), c[r]);

    const auto sum_of = [&](int r, int64_t j) {
      return total + j / kPanel<T> * kPanel<T> * kBlock + r * kPanel<T> + j % kPanel<T>;
    };
    // What the steps from t on give to h before step t, on top of `given`.
    const auto through = [&](int64_t t, const auto& given) {
      for (int64_t from = 0; from < h; from += kPanel<T>) {
        T* sum = total + from * kBlock;
        for (int r = 0; r < block.rows; ++r) {
          const bool held = t < s.t && live[r] && !live[r][t];
          for (int64_t j = from; j < from + kPanel<T>; j += Simd<T>::width) {
            T* at = sum + r * kPanel<T> + (j - from);
            const V<T> start = given(r, j, std::max<int64_t>(h - j, 0));
            Simd<T>::store(at, held ? start + Simd<T>::load(at) : start);
          }
        }
        for (int g = 0; g < Gates && t < s.t; ++g) {
          multiply_block(after + g * h, stride, panels + (from * Gates + g * kPanel<T>) * h, h, sum, block.rows);
        }
      }
    };
    for (int64_t t = s.t - 1; t >= 0; --t) {
      through(t + 1, [&](int r, int64_t j, int64_t count) {
        return load(x[r] + t * s.results() + s.results() - h + j, count);
      });
      for (int r = 0; r < block.rows; ++r) {
        const bool lives = !live[r] || live[r][t];
        const T *now = k[r] + t * s.factors(), *more = x[r] + t * s.results();
        T* out = b[r] + t * s.sources();
        for (int64_t j = 0; j < h; j += Simd<T>::width) {
          const int64_t count = h - j;
          const V<T> dh = Simd<T>::load(sum_of(r, j));
          V<T> dz[Gates] = {}, dc{};
          if (Gates == 4) {
            dc = load(c[r] + j, count);
            if (s.full) dc += load(more + Gates * h + j, count);
            if (lives) {
              dc += load(now + 4 * h + j, count) * dh;
              dz[0] = load(now + j, count) * dc;
              dz[1 % Gates] = load(now + h + j, count) * dc;
              dz[2 % Gates] = load(now + 2 * h + j, count) * dh;
              dz[3 % Gates] = load(now + 3 * h + j, count) * dc;
            }
            store(c[r] + j, lives ? load(now + 5 * h + j, count) * dc : dc, count);
          } else if (lives) {
            dz[0] = load(now + j, count) * dh;
          }
          for (int g = 0; g < Gates; ++g) {
            if (s.full) dz[g] += load(more + g * h + j, count);
            store(after + r * stride + g * h + j, dz[g], count);
            store(out + g * h + j, dz[g], count);
          }
          if (s.full) {
            if (Gates == 4) store(out + Gates * h + j, dc, count);
            store(out + s.sources() - h + j, dh, count);
          }
        }
      }
    }
    through(0, [](int, int64_t, int64_t) { return V<T>{}; });
    for (int r = 0; r < block.rows; ++r) {
      for (int64_t j = 0; j < h; j += Simd<T>::width) {
        store(begin[r] + j, Simd<T>::load(sum_of(r, j)), h - j);
      }
    }
  }
};

using Work = ffi::Result<ffi::Buffer<ffi::U8>>;

// Pack the weights, then take every block of rows through the steps.
template <class T, bool Backward, class Steps>
ffi::Error sweep(ffi::ThreadPool& pool, const Sizes& s, Array<const T> wh, const Steps& steps, Work work) {
  if (s.lanes * s.n == 0 || s.t == 0 || s.h == 0) return ffi::Error::Success();
  const int64_t one = s.panels<T>() * s.gates * s.h * kPanel<T>, tasks = s.groups() * s.blocks();
  const int64_t numbers = s.groups() * one + tasks * Steps::scratch(s), bytes = numbers * sizeof(T) + kVectorBytes;
  if (static_cast<int64_t>(work->size_bytes()) < bytes)
    return ffi::Error(ffi::ErrorCode::kInvalidArgument, "recurrence: the workspace is too small");
  T* panels = aligned<T>(work->untyped_data());
  T* scratch = panels + s.groups() * one;
  const int64_t pieces = one > (1 << 14) ? s.panels<T>() : 1;
  parallel_for(pool, s.groups() * pieces, [&](int64_t task) {
    const int64_t group = task / pieces, piece = task % pieces;
    for (int64_t u = piece; u < s.panels<T>(); u += pieces) {
      pack<T, Backward>(wh.data + group * wh.lane, s, u, panels + group * one + u * s.gates * s.h * kPanel<T>);
    }
  });
  parallel_for(pool, tasks, [&](int64_t task) {
    const Block block(s, task);
    T* own = scratch + task * Steps::scratch(s);
    if (s.gates == 4) {
      steps.template operator()<4>(s, block, panels + block.group * one, own);
    } else {
      steps.template operator()<1>(s, block, panels + block.group * one, own);
    }
  });
  return ffi::Error::Success();
}

// An operand of which a row has `row` numbers, a lane `rows` rows.
template <class Buffer, class T = std::remove_pointer_t<decltype(std::declval<Buffer>().typed_data())>>
Array<const T> operand(const Buffer& x, bool laned, int64_t rows, int64_t row) {
  return {x.element_count() ? x.typed_data() : nullptr, laned ? rows * row : 0, row};
}
template <class Buffer, class T = std::remove_pointer_t<decltype(std::declval<Buffer>().typed_data())>>
Array<T> result(ffi::Result<Buffer> x, int64_t rows, int64_t row) {
  return {x->element_count() ? x->typed_data() : nullptr, rows * row, row};
}

Sizes sizes(const ffi::Span<const int64_t>& s, bool laned_weights, bool full) {
  return {s[0], s[1], s[2], s[3], s[4], laned_weights, full};
}

using Numbers = ffi::Span<const int64_t>;
template <ffi::DataType D>
using In = ffi::Buffer<D>;
template <ffi::DataType D>
using Out = ffi::Result<ffi::Buffer<D>>;
using Flags = ffi::Buffer<ffi::PRED>;

// `numbers` are lanes, n, t, h, gates; `laned` says of each operand whether it has lanes.
template <ffi::DataType D>
ffi::Error run(ffi::ThreadPool pool, In<D> products, In<D> wh, In<D> h0, In<D> c0, Flags alive, Out<D> hs, Out<D> c_end,
               Work work, Numbers numbers, Numbers laned) {
  const Sizes s = sizes(numbers, laned[1], false);
  using T = ffi::NativeType<D>;
  const int64_t g = s.gates * s.h, n = s.n, t = s.t;
  const Run<T> steps{operand(products, laned[0], n, t * g), operand(h0, laned[2], n, s.h),
                     operand(c0, laned[3], n, s.cell()), operand(alive, laned[4], n, t),
                     result(hs, n, t * s.h), result(c_end, n, s.cell()), {}, {}};
  return sweep<T, false>(pool, s, operand(wh, laned[1], s.h, g), steps, work);
}

template <ffi::DataType D>
ffi::Error save(ffi::ThreadPool pool, In<D> products, In<D> wh, In<D> h0, In<D> c0, Flags alive, Out<D> hs,
                Out<D> c_end, Out<D> cs, Out<D> factors, Work work, Numbers numbers, Numbers laned) {
  const Sizes s = sizes(numbers, laned[1], false);
  using T = ffi::NativeType<D>;
  const int64_t g = s.gates * s.h, n = s.n, t = s.t;
  const Run<T> steps{operand(products, laned[0], n, t * g), operand(h0, laned[2], n, s.h),
                     operand(c0, laned[3], n, s.cell()), operand(alive, laned[4], n, t),
                     result(hs, n, t * s.h), result(c_end, n, s.cell()), result(cs, n, t * s.cell()),
                     result(factors, n, t * s.factors())};
  return sweep<T, false>(pool, s, operand(wh, laned[1], s.h, g), steps, work);
}

template <ffi::DataType D>
ffi::Error push(ffi::ThreadPool pool, In<D> factors, In<D> wh, Flags alive, In<D> sources, In<D> h0, In<D> c0,
                Out<D> results, Out<D> c_end, Work work, Numbers numbers, Numbers laned, bool full) {
  const Sizes s = sizes(numbers, laned[1], full);
  using T = ffi::NativeType<D>;
  const int64_t n = s.n, t = s.t;
  const Push<T> steps{operand(factors, laned[0], n, t * s.factors()), operand(alive, laned[2], n, t),
                      operand(sources, laned[3], n, t * s.sources()), operand(h0, laned[4], n, s.h),
                      operand(c0, laned[5], n, s.cell()), result(results, n, t * s.results()),
                      result(c_end, n, s.cell())};
  return sweep<T, false>(pool, s, operand(wh, laned[1], s.h, s.gates * s.h), steps, work);
}

template <ffi::DataType D>
ffi::Error pull(ffi::ThreadPool pool, In<D> factors, In<D> wh, Flags alive, In<D> results, In<D> c_end, Out<D> sources,
                Out<D> h0, Out<D> c0, Work work, Numbers numbers, Numbers laned, bool full) {
  const Sizes s = sizes(numbers, laned[1], full);
  using T = ffi::NativeType<D>;
  const int64_t n = s.n, t = s.t;
  const Pull<T> steps{operand(factors, laned[0], n, t * s.factors()), operand(alive, laned[2], n, t),
                      operand(results, laned[3], n, t * s.results()), operand(c_end, laned[4], n, s.cell()),
                      result(sources, n, t * s.sources()), result(h0, n, s.h), result(c0, n, s.cell())};
  return sweep<T, true>(pool, s, operand(wh, laned[1], s.h, s.gates * s.h), steps, work);
}

}  // namespace

#define JAX231_RECURRENCE(type, D)                                                                                   \
  JAX231_KERNEL(recurrence_run_##type, run<D>,                                                                       \
                ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<In<D>>().Arg<In<D>>().Arg<In<D>>().Arg<In<D>>()          \
                    .Arg<Flags>().Ret<In<D>>().Ret<In<D>>().Ret<ffi::Buffer<ffi::U8>>()                              \
                    .Attr<Numbers>("numbers").Attr<Numbers>("laned"));                                               \
  JAX231_KERNEL(recurrence_save_##type, save<D>,                                                                     \
                ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<In<D>>().Arg<In<D>>().Arg<In<D>>().Arg<In<D>>()          \
                    .Arg<Flags>().Ret<In<D>>().Ret<In<D>>().Ret<In<D>>().Ret<In<D>>().Ret<ffi::Buffer<ffi::U8>>()    \
                    .Attr<Numbers>("numbers").Attr<Numbers>("laned"));                                               \
  JAX231_KERNEL(recurrence_push_##type, push<D>,                                                                     \
                ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<In<D>>().Arg<In<D>>().Arg<Flags>().Arg<In<D>>()          \
                    .Arg<In<D>>().Arg<In<D>>().Ret<In<D>>().Ret<In<D>>().Ret<ffi::Buffer<ffi::U8>>()                 \
                    .Attr<Numbers>("numbers").Attr<Numbers>("laned").Attr<bool>("full"));                            \
  JAX231_KERNEL(recurrence_pull_##type, pull<D>,                                                                     \
                ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<In<D>>().Arg<In<D>>().Arg<Flags>().Arg<In<D>>()          \
                    .Arg<In<D>>().Ret<In<D>>().Ret<In<D>>().Ret<In<D>>().Ret<ffi::Buffer<ffi::U8>>()                 \
                    .Attr<Numbers>("numbers").Attr<Numbers>("laned").Attr<bool>("full"))

JAX231_RECURRENCE(f32, ffi::F32);
JAX231_RECURRENCE(f64, ffi::F64);

}  // namespace jax231
