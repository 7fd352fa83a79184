// The nearest training examples of every query, the nearest first and the earlier of equals.
//
// Slabs of training examples pass by slabs of queries, both packed for a small tile of products in registers: rows of
// queries by vectors of training examples. A query looks at a tile's distances once, while they are in the nearest
// cache, and keeps the k smallest in order; the matrix of all distances is never there.

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "ceil_div.h"
#include "kernel.h"
#include "parallel.h"
#include "simd.h"

namespace jax231 {
namespace {

constexpr int kQueries = kRegisters == 32 ? 12 : 6;  // rows of a tile
constexpr int kVectors = 2;                          // columns of a tile
constexpr int64_t kBlock = 1 << 18;                  // bytes of packed training examples that a core's own cache holds
constexpr int kTilesPerTask = 8;                     // of queries

template <class T>
constexpr int kExamples = kVectors * Simd<T>::width;

struct Sizes {
  int64_t lanes, examples, queries, features, k;
  int64_t example_slab, query_slab;  // at most so many of either at a time
  bool absolute;                     // sums of absolute differences, else Euclidean
};

// Examples in groups of `width`, feature by feature, and the sum of the squares of each; zeros fill the last group.
template <class T, int width>
struct Packed {
  T* values;
  T* squares;
  int64_t features;

  const T* group(int64_t g) const { return values + g * width * features; }

  template <class Source>
  void pack(int64_t g, const Source* source, int64_t count, const T* middle) const {
    T* to = values + g * width * features;
    T sums[width] = {};
    const int here = static_cast<int>(std::min<int64_t>(width, count - g * width));
    const Source* from[width];
    for (int i = 0; i < width; ++i) from[i] = source + (g * width + std::min(i, here - 1)) * features;
    for (int64_t f = 0; f < features; ++f, to += width) {
      for (int i = 0; i < width; ++i) {
        const T value = static_cast<T>(from[i][f]) - middle[f];
        to[i] = value;
        sums[i] += value * value;
      }
    }
    std::copy(sums, sums + width, squares + g * width);
  }
};

// The k nearest so far of every query of a slab.
template <class T>
struct Nearest {
  T* distances;
  int32_t* places;
  int64_t k;

  T worst(int64_t query) const { return distances[query * k + k - 1]; }

  // Examples come in their order, so that one goes behind those which are as near.
  void offer(int64_t query, T distance, int64_t place) const {
    T* near = distances + query * k;
    int32_t* where = places + query * k;
    const int64_t i = std::upper_bound(near, near + k, distance) - near;
    std::copy_backward(near + i, near + k - 1, near + k);
    std::copy_backward(where + i, where + k - 1, where + k);
    near[i] = distance;
    where[i] = static_cast<int32_t>(place);
  }
};

// Inner products of a group of queries with one of examples, or the sums of their absolute differences.
template <bool absolute, class T>
inline void multiply(const T* queries, const T* examples, int64_t features, T* out, int64_t row) {
  using S = Simd<T>;
  typename S::Vector sums[kQueries][kVectors] = {};
  for (int64_t f = 0; f < features; ++f, queries += kQueries, examples += kExamples<T>) {
    typename S::Vector x[kVectors];
    for (int v = 0; v < kVectors; ++v) x[v] = S::load(examples + v * S::width);
    for (int q = 0; q < kQueries; ++q) {
      const auto one = S::broadcast(queries[q]);
      for (int v = 0; v < kVectors; ++v) {
        if constexpr (absolute) {
          const auto off = one - x[v];
          sums[q][v] += off < -off ? -off : off;
        } else {
          sums[q][v] += one * x[v];
        }
      }
    }
  }
  for (int q = 0; q < kQueries; ++q) {
    for (int v = 0; v < kVectors; ++v) S::store(out + q * row + v * S::width, sums[q][v]);
  }
}

// |a|^2 + |b|^2 - 2 a.b from the products of one query; what is below its own rounding error is 0. Returns the least.
template <class T>
inline T squares_of_distances(T* products, int64_t count, T query, const T* examples, T rounding) {
  using S = Simd<T>;
  const typename S::Vector infinite = S::broadcast(std::numeric_limits<T>::infinity()), zero = {};
  auto least = infinite;
  for (int64_t i = 0; i < count; i += S::width) {
    const auto both = query + S::load(examples + i);
    const auto square = both - 2 * S::load(products + i);
    const auto known = (square <= rounding * both) & (both < infinite) ? zero : square;
    S::store(products + i, known);
    least = known < least ? known : least;
  }
  T smallest = least[0];
  for (int i = 1; i < S::width; ++i) smallest = std::min<T>(smallest, least[i]);
  return smallest;
}

template <bool absolute, class T>
struct Search {
  const Sizes& s;
  Packed<T, kQueries> queries;
  Packed<T, kExamples<T>> examples;
  Nearest<T> nearest;
  T rounding;

  // Groups [first, last) of queries against a slab of `count` examples, the first of which is number `start`.
  void look(int64_t first, int64_t last, int64_t query_count, int64_t start, int64_t count) const {
    constexpr int64_t most = 8;
    alignas(kVectorBytes) T tile[kQueries * most * kExamples<T>];
    const int64_t bytes = kExamples<T> * s.features * sizeof(T), groups = ceil_div(count, kExamples<T>);
    const int64_t block = std::clamp<int64_t>(kBlock / bytes, 1, most), row = block * kExamples<T>;
    for (int64_t from = 0; from < groups; from += block) {
      const int64_t to = std::min(groups, from + block), begin = from * kExamples<T>;
      const int64_t here = std::min(count, to * kExamples<T>) - begin;
      for (int64_t q = first; q < last; ++q) {
        for (int64_t g = from; g < to; ++g) {
          multiply<absolute>(queries.group(q), examples.group(g), s.features, tile + (g - from) * kExamples<T>, row);
        }
        const int64_t rows = std::min<int64_t>(kQueries, query_count - q * kQueries);
        for (int64_t r = 0; r < rows; ++r) {
          const int64_t query = q * kQueries + r;
          T* distances = tile + r * row;
          if constexpr (!absolute) {
            const int64_t padded = (to - from) * kExamples<T>;
            const T least = squares_of_distances(distances, padded, queries.squares[query], examples.squares + begin,
                                                 rounding);
            if (!(least < nearest.worst(query))) continue;
          }
          for (int64_t i = 0; i < here; ++i) {
            if (distances[i] < nearest.worst(query)) nearest.offer(query, distances[i], start + begin + i);
          }
        }
      }
    }
  }
};

template <class T>
struct Workspace {
  int64_t query_groups, example_groups;
  const Sizes& s;

  explicit Workspace(const Sizes& s)
      : query_groups(ceil_div(s.query_slab, kQueries)), example_groups(ceil_div(s.example_slab, kExamples<T>)), s(s) {}
  int64_t numbers() const {
    return (query_groups * kQueries + example_groups * kExamples<T>) * (s.features + 1) + s.query_slab * s.k;
  }
  int64_t bytes() const { return numbers() * sizeof(T) + kVectorBytes; }
};

template <bool absolute, class Source, class T>
void search(ffi::ThreadPool& pool, const Sizes& s, const Source* examples, const Source* queries, const T* middle,
            int32_t* places, void* memory) {
  const Workspace<T> room(s);
  T* at = aligned<T>(memory);
  const auto take = [&at](int64_t count) { return std::exchange(at, at + count); };
  const Packed<T, kExamples<T>> packed_examples{take(room.example_groups * kExamples<T> * s.features),
                                                take(room.example_groups * kExamples<T>), s.features};
  const Packed<T, kQueries> packed_queries{take(room.query_groups * kQueries * s.features),
                                           take(room.query_groups * kQueries), s.features};
  T* distances = take(s.query_slab * s.k);
  const T rounding = std::numeric_limits<T>::epsilon() * std::sqrt(static_cast<T>(s.features));

  for (int64_t low = 0; low < s.queries; low += s.query_slab) {
    const int64_t query_count = std::min(s.query_slab, s.queries - low);
    const int64_t query_groups = ceil_div(query_count, kQueries);
    const Search<absolute, T> search{s, packed_queries, packed_examples, {distances, places + low * s.k, s.k}, rounding};
    std::fill(distances, distances + query_count * s.k, std::numeric_limits<T>::infinity());
    std::fill(places + low * s.k, places + (low + query_count) * s.k, 0);
    parallel_for(pool, ceil_div(query_groups, kTilesPerTask), [&](int64_t task) {
      const int64_t end = std::min(query_groups, (task + 1) * kTilesPerTask);
      for (int64_t g = task * kTilesPerTask; g < end; ++g) {
        packed_queries.pack(g, queries + low * s.features, query_count, middle);
      }
    });
    for (int64_t start = 0; start < s.examples; start += s.example_slab) {
      const int64_t count = std::min(s.example_slab, s.examples - start);
      parallel_for(pool, ceil_div(count, kExamples<T>), [&](int64_t g) {
        packed_examples.pack(g, examples + start * s.features, count, middle);
      });
      parallel_for(pool, ceil_div(query_groups, kTilesPerTask), [&](int64_t task) {
        const int64_t end = std::min(query_groups, (task + 1) * kTilesPerTask);
        search.look(task * kTilesPerTask, end, query_count, start, count);
      });
    }
  }
}

using Numbers = ffi::Span<const int64_t>;
template <ffi::DataType D>
using In = ffi::Buffer<D>;

Sizes sizes(const Numbers& n) { return {n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7] != 0}; }

// `numbers` are those of Sizes; `laned` says of each operand whether it has lanes.
template <ffi::DataType D, ffi::DataType Wide>
ffi::Error nearest(ffi::ThreadPool pool, In<D> examples, In<D> queries, In<Wide> middle,
                   ffi::Result<ffi::Buffer<ffi::S32>> places, ffi::Result<ffi::Buffer<ffi::U8>> work, Numbers numbers,
                   Numbers laned) {
  using T = ffi::NativeType<Wide>;
  const Sizes s = sizes(numbers);
  if (static_cast<int64_t>(work->size_bytes()) < Workspace<T>(s).bytes())
    return ffi::Error(ffi::ErrorCode::kInvalidArgument, "nearest: the workspace is too small");
  for (int64_t lane = 0; lane < s.lanes; ++lane) {
    const auto* from = examples.typed_data() + (laned[0] ? lane * s.examples * s.features : 0);
    const auto* asked = queries.typed_data() + (laned[1] ? lane * s.queries * s.features : 0);
    const auto* origin = middle.typed_data() + (laned[2] ? lane * s.features : 0);
    int32_t* to = places->typed_data() + lane * s.queries * s.k;
    const auto run = s.absolute ? search<true, ffi::NativeType<D>, T> : search<false, ffi::NativeType<D>, T>;
    run(pool, s, from, asked, origin, to, work->untyped_data());
  }
  return ffi::Error::Success();
}

}  // namespace

#define JAX231_NEAREST(type, D, Wide)                                                             \
  JAX231_KERNEL(nearest_##type, (nearest<D, Wide>),                                               \
                ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<In<D>>().Arg<In<D>>().Arg<In<Wide>>() \
                    .Ret<ffi::Buffer<ffi::S32>>().Ret<ffi::Buffer<ffi::U8>>()                     \
                    .Attr<Numbers>("numbers").Attr<Numbers>("laned"))

JAX231_NEAREST(f32, ffi::F32, ffi::F32);
JAX231_NEAREST(f64, ffi::F64, ffi::F64);
JAX231_NEAREST(u8, ffi::U8, ffi::F32);

}  // namespace jax231

JAX231_EXPORT int64_t jax231_nearest_workspace(const int64_t* numbers, int count, int itemsize) {
  const jax231::Sizes s = jax231::sizes(jax231::Numbers(numbers, count));
  return itemsize == sizeof(float) ? jax231::Workspace<float>(s).bytes() : jax231::Workspace<double>(s).bytes();
}
