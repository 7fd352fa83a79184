// Pooling windows over an image: largest entry and place, sums, and the transposes of reading (see pooling.py).
//
// Layouts: image ([lanes,] n, h, w, c), outputs and places ([lanes,] n, oh, ow, c). Lanes are more images; an operand
// without them is read again for each lane. Channels lie side by side and are what is vectorised. Each result is
// written by one task, whichever thread runs it, so its bits do not depend on their number.

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "kernel.h"
#include "parallel.h"
#include "simd.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace jax231 {
namespace {

// What one task at least computes: less is not worth handing to another thread.
constexpr int64_t kEntriesPerTask = 1 << 14;

struct Windows {
  static constexpr size_t kNumbers = 10;  // in the attribute `numbers`, in the order of the fields

  int64_t h, w, kh, kw, stride_h, stride_w, top, left, oh, ow;

  explicit Windows(const int64_t* a)
      : h(a[0]), w(a[1]), kh(a[2]), kw(a[3]), stride_h(a[4]), stride_w(a[5]), top(a[6]), left(a[7]), oh(a[8]), ow(a[9]) {}
};

// `width` entries side by side, and integers of their size: masks of comparisons, places.
template <class T, int width>
struct Pack {
  typedef std::conditional_t<sizeof(T) == 4, int32_t, int64_t> Integer;
  typedef T Vector __attribute__((vector_size(width * sizeof(T))));
  typedef Integer Mask __attribute__((vector_size(width * sizeof(T))));
  typedef T Loose __attribute__((vector_size(width * sizeof(T)), aligned(alignof(T)), may_alias));
  template <class Place>
  struct Places {
    typedef Place Loose __attribute__((vector_size(width * sizeof(Place)), aligned(alignof(Place)), may_alias));
  };

  static Mask all(int64_t x) { return Mask{} + static_cast<Integer>(x); }
  static Vector load(const T* p) { return *reinterpret_cast<const Loose*>(p); }
  static void store(T* p, Vector v) { *reinterpret_cast<Loose*>(p) = v; }
  template <class Place>
  static Mask load_places(const Place* p) {
#if defined(__AVX2__)  // GCC widens bytes one by one
    if constexpr (sizeof(Place) == 1 && sizeof(Mask) == 32) {
      long long bytes = 0;
      std::memcpy(&bytes, p, width);
      const __m128i packed = _mm_cvtsi64_si128(bytes);
      if constexpr (width == 8) return reinterpret_cast<Mask>(_mm256_cvtepu8_epi32(packed));
      if constexpr (width == 4) return reinterpret_cast<Mask>(_mm256_cvtepu8_epi64(packed));
    }
#endif
    return __builtin_convertvector(*reinterpret_cast<const typename Places<Place>::Loose*>(p), Mask);
  }
  template <class Place>
  static void store_places(Place* p, Mask v) {
    using To = typename Places<Place>::Loose;
    if constexpr (sizeof(Place) == 1) {
      *reinterpret_cast<To*>(p) = lowest_bytes(v, std::make_integer_sequence<int, width>{});
    } else {
      *reinterpret_cast<To*>(p) = __builtin_convertvector(v, To);
    }
  }

 private:
  typedef uint8_t Bytes __attribute__((vector_size(width * sizeof(T))));
  typedef uint8_t Lowest __attribute__((vector_size(width)));
  template <int... lane>
  static Lowest lowest_bytes(Mask v, std::integer_sequence<int, lane...>) {
    const Bytes bytes = reinterpret_cast<Bytes>(v);
#if defined(__clang__) || __GNUC__ >= 12
    return __builtin_shufflevector(bytes, bytes, (lane * static_cast<int>(sizeof(T)))...);
#else
    return Lowest{bytes[lane * sizeof(T)]...};
#endif
  }
};

// Call work(k) so that the vectors at k, ..., k + width - 1 cover all channels; the last may overlap the one before it,
// whose entries it computes once more. There are at least `width` channels.
template <int width, class Work>
inline void over_channels(int64_t c, const Work& work) {
  for (int64_t done = 0; done < c; done += width) work(std::min(done, c - width));
}

// Call work(std::integral_constant<int, width>) with a vector that the channels fill.
template <class T, int width = Simd<T>::width, class Work>
void by_width(int64_t c, const Work& work) {
  if constexpr (width > 1) {
    if (c < width) return by_width<T, (width > 4 ? 4 : 1)>(c, work);
  }
  work(std::integral_constant<int, width>{});
}

// Call work(image, row) for all rows of all images.
template <class Work>
void over_rows(ffi::ThreadPool& pool, int64_t images, int64_t rows, int64_t entries, const Work& work) {
  const int64_t all = images * rows, grain = std::max<int64_t>(1, kEntriesPerTask / std::max<int64_t>(1, entries));
  parallel_for(pool, (all + grain - 1) / grain, [&](int64_t task) {
    for (int64_t row = task * grain; row < std::min(all, (task + 1) * grain); ++row) work(row / rows, row % rows);
  });
}

// The part [first, last) of a window of `size` places from pixel `start` that lies on an axis of `pixels`.
struct Part {
  int64_t first, last;
  Part(int64_t start, int64_t size, int64_t pixels)
      : first(std::max<int64_t>(0, -start)), last(std::min(size, pixels - start)) {}
};

// Windows [first, last) cover the pixel; `advance` to the pixels one after the other.
struct Over {
  int64_t first = 0, last = 0;
  void advance(int64_t pixel, int64_t size, int64_t stride, int64_t low, int64_t outputs) {
    while (last < outputs && last * stride <= pixel + low) ++last;
    while (first < last && first * stride + size <= pixel + low) ++first;
  }
};

// Stands for places where there are none.
struct Nothing {};

template <class Place>
Place* advanced(Place* places, int64_t by) {
  return std::is_same_v<Place, Nothing> ? places : places + by;
}

// What becomes of the pixels of a window: begun with the first one and its place, given the others in order.

// The maximum, and the place of its first holder. NaN is larger than any number.
template <class T, int width, class Place>
struct Largest {
  using P = Pack<T, width>;
  typename P::Vector best;
  typename P::Mask place;
  Largest(Place*, typename P::Vector v, int64_t at) : best(v), place(P::all(at)) {}
  void take(typename P::Vector v, int64_t at) {
    const typename P::Mask wins = ~(v <= best) & (best == best);
    best = wins ? v : best;
    if constexpr (!std::is_same_v<Place, Nothing>) place = wins ? P::all(at) : place;
  }
  void put(T* y, Place* places) const {
    P::store(y, best);
    if constexpr (!std::is_same_v<Place, Nothing>) P::store_places(places, place);
  }
};

// The pixel at a given place.
template <class T, int width, class Place>
struct Chosen {
  using P = Pack<T, width>;
  typename P::Mask place;
  typename P::Vector chosen;
  Chosen(Place* places, typename P::Vector v, int64_t at) : place(P::load_places(places)), chosen{} { take(v, at); }
  void take(typename P::Vector v, int64_t at) { chosen = place == P::all(at) ? v : chosen; }
  void put(T* y, Place*) const { P::store(y, chosen); }
};

template <class T, int width, class Place>
struct Sum {
  using P = Pack<T, width>;
  typename P::Vector sum;
  Sum(Place*, typename P::Vector v, int64_t) : sum(v) {}
  void take(typename P::Vector v, int64_t) { sum += v; }
  void put(T* y, Place*) const { P::store(y, sum); }
};

// Output row `i` of one image: what Result makes of the pixels under each window.
template <class Result, int width, class T, class Place>
void reduce_row(const Windows& g, int64_t c, int64_t i, const T* x, T* y, Place* places) {
  const int64_t top = i * g.stride_h - g.top;
  const Part rows(top, g.kh, g.h);
  const int64_t height = rows.last - rows.first;
  for (int64_t j = 0; j < g.ow; ++j) {
    const int64_t left = j * g.stride_w - g.left;
    const Part columns(left, g.kw, g.w);
    const int64_t across = columns.last - columns.first;
    const T* corner = x + ((top + rows.first) * g.w + left + columns.first) * c;
    const int64_t first = rows.first * g.kw + columns.first;
    const auto reduce = [&](auto rows_below, auto columns_below) {
      over_channels<width>(c, [&](int64_t k) {
        const int64_t to = j * c + k;
        Result result(advanced(places, to), Pack<T, width>::load(corner + k), first);
        for (int64_t a = 0; a < rows_below; ++a) {
          for (int64_t b = a == 0; b < columns_below; ++b) {
            result.take(Pack<T, width>::load(corner + (a * g.w + b) * c + k), first + a * g.kw + b);
          }
        }
        result.put(y + to, advanced(places, to));
      });
    };
    // The usual windows, unrolled in the usual type: two to three times quicker.
    if constexpr (sizeof(T) == 4 && width == Simd<T>::width && !std::is_same_v<Place, int32_t>) {
      if (height == 2 && across == 2) {
        reduce(std::integral_constant<int64_t, 2>{}, std::integral_constant<int64_t, 2>{});
        continue;
      }
      if (height == 3 && across == 3) {
        reduce(std::integral_constant<int64_t, 3>{}, std::integral_constant<int64_t, 3>{});
        continue;
      }
    }
    reduce(height, across);
  }
}

// A window over a pixel: where its entries begin, and the place that the pixel has in it.
struct Seen {
  int64_t at, place;
};

// Row `r` of one image: the sum over the windows on each pixel, of all entries or of those whose place is that pixel.
template <int width, class T, class Place>
void add_row(const Windows& g, int64_t c, int64_t r, const T* y, const Place* places, T* x) {
  using P = Pack<T, width>;
  Over rows, columns;
  rows.advance(r, g.kh, g.stride_h, g.top, g.oh);
  const auto named = [&](Seen window, int64_t k) {
    const auto entries = P::load(y + window.at + k);
    if constexpr (std::is_same_v<Place, Nothing>) {
      return entries;
    } else {
      return P::load_places(places + window.at + k) == P::all(window.place) ? entries : typename P::Vector{};
    }
  };
  std::vector<Seen> seen(((g.kh - 1) / g.stride_h + 1) * ((g.kw - 1) / g.stride_w + 1));
  for (int64_t q = 0; q < g.w; ++q) {
    columns.advance(q, g.kw, g.stride_w, g.left, g.ow);
    int64_t count = 0;
    for (int64_t i = rows.first; i < rows.last; ++i) {
      for (int64_t j = columns.first; j < columns.last; ++j) {
        const int64_t place = (r + g.top - i * g.stride_h) * g.kw + q + g.left - j * g.stride_w;
        seen[count++] = {(i * g.ow + j) * c, place};
      }
    }
    const auto add = [&](auto windows) {
      over_channels<width>(c, [&](int64_t k) {
        typename P::Vector sum{};
        for (int64_t s = 0; s < windows; ++s) sum += named(seen[s], k);
        P::store(x + q * c + k, sum);
      });
    };
    if (count == 1) {
      add(std::integral_constant<int64_t, 1>{});
    } else {
      add(count);
    }
  }
}

// Of an operand: how many images of all lanes, and channels.
struct Images {
  int64_t count = 1, c = 0;
  template <class Buffer>
  explicit Images(const Buffer& buffer) {
    const auto sizes = buffer.dimensions();
    for (size_t a = 0; a + 3 < sizes.size(); ++a) count *= sizes[a];
    c = sizes[sizes.size() - 1];
  }
};

ffi::Error refused() { return ffi::Error::InvalidArgument("jax231: no pooling kernel for these types or numbers"); }

// Call work(T{}) with the type of the entries.
template <class Work>
ffi::Error by_type(ffi::DataType type, const Work& work) {
  if (type == ffi::F32) return work(float{});
  if (type == ffi::F64) return work(double{});
  return refused();
}

// Call work(Place{}) with the type of the places.
template <class Work>
ffi::Error by_place(ffi::DataType type, const Work& work) {
  if (type == ffi::U8) return work(uint8_t{});
  if (type == ffi::S32) return work(int32_t{});
  return refused();
}

using Any = ffi::AnyBuffer;
using Numbers = ffi::Span<const int64_t>;

template <class T>
T* data(Any& buffer) {
  return static_cast<T*>(buffer.untyped_data());
}

// An operand without lanes is read again for each lane: images of `x` and `places` modulo their numbers.
template <template <class, int, class> class Result, class T, class Place>
ffi::Error reduce(ffi::ThreadPool& pool, const Windows& g, Any& x, Any& y, Place* places, int64_t placed_images) {
  const int64_t images = Images(y).count, x_images = Images(x).count, c = Images(x).c;
  by_width<T>(c, [&](auto width) {
    constexpr int w = decltype(width)::value;
    const int64_t outputs = g.ow * c;
    over_rows(pool, images, g.oh, outputs * std::min<int64_t>(g.kh * g.kw, 16), [&](int64_t n, int64_t i) {
      reduce_row<Result<T, w, Place>, w>(g, c, i, data<T>(x) + n % x_images * g.h * g.w * c,
                                         data<T>(y) + (n * g.oh + i) * outputs,
                                         advanced(places, (n % placed_images * g.oh + i) * outputs));
    });
  });
  return ffi::Error::Success();
}

template <template <class, int, class> class Result>
ffi::Error reduce_alone(ffi::ThreadPool pool, Numbers numbers, Any x, ffi::Result<Any> y) {
  if (numbers.size() != Windows::kNumbers) return refused();
  return by_type(x.element_type(), [&](auto zero) {
    return reduce<Result, decltype(zero), Nothing>(pool, Windows(numbers.begin()), x, *y, nullptr, 1);
  });
}

template <template <class, int, class> class Result>
ffi::Error reduce_placed(ffi::ThreadPool& pool, Numbers numbers, Any& x, Any& y, Any& places) {
  if (numbers.size() != Windows::kNumbers) return refused();
  return by_type(x.element_type(), [&](auto zero) {
    return by_place(places.element_type(), [&](auto none) {
      using Place = decltype(none);
      const Windows g(numbers.begin());
      return reduce<Result, decltype(zero), Place>(pool, g, x, y, data<Place>(places), Images(places).count);
    });
  });
}

ffi::Error max_pool_with_places(ffi::ThreadPool pool, Numbers numbers, Any x, ffi::Result<Any> y, ffi::Result<Any> places) {
  return reduce_placed<Largest>(pool, numbers, x, *y, *places);
}

ffi::Error read_at(ffi::ThreadPool pool, Numbers numbers, Any x, Any places, ffi::Result<Any> y) {
  return reduce_placed<Chosen>(pool, numbers, x, *y, places);
}

ffi::Error spread(ffi::ThreadPool pool, Numbers numbers, Any y, ffi::Result<Any> x) {
  if (numbers.size() != Windows::kNumbers) return refused();
  const Windows g(numbers.begin());
  const Images images(y);
  const int64_t c = images.c;
  return by_type(y.element_type(), [&](auto zero) {
    using T = decltype(zero);
    by_width<T>(c, [&](auto width) {
      over_rows(pool, images.count, g.h, g.w * c, [&](int64_t n, int64_t r) {
        add_row<decltype(width)::value, T, Nothing>(g, c, r, data<T>(y) + n * g.oh * g.ow * c, nullptr,
                                                    data<T>(*x) + (n * g.h + r) * g.w * c);
      });
    });
    return ffi::Error::Success();
  });
}

ffi::Error add_at(ffi::ThreadPool pool, Numbers numbers, Any y, Any places,
                  ffi::Result<Any> x) {
  if (numbers.size() != Windows::kNumbers) return refused();
  const Windows g(numbers.begin());
  const int64_t images = Images(*x).count, y_images = Images(y).count, placed_images = Images(places).count;
  const int64_t c = Images(y).c, outputs = g.oh * g.ow * c;
  return by_type(y.element_type(), [&](auto zero) {
    return by_place(places.element_type(), [&](auto none) {
      using T = decltype(zero);
      using Place = decltype(none);
      by_width<T>(c, [&](auto width) {
        over_rows(pool, images, g.h, g.w * c, [&](int64_t n, int64_t r) {
          add_row<decltype(width)::value, T, Place>(g, c, r, data<T>(y) + n % y_images * outputs,
                                                    data<Place>(places) + n % placed_images * outputs,
                                                    data<T>(*x) + (n * g.h + r) * g.w * c);
        });
      });
      return ffi::Error::Success();
    });
  });
}

// Unpooling: call work(entry, at) for each entry whose switch names a pixel of the image, `at` in the image.
template <class Work>
inline void over_named(const int32_t* switches, int64_t outputs, int64_t c, int64_t pixels, const Work& work) {
  for (int64_t first = 0; first < outputs * c; first += c) {
    for (int64_t k = 0; k < c; ++k) {
      const int64_t pixel = switches[first + k];
      if (pixel >= 0 && pixel < pixels) work(first + k, pixel * c + k);
    }
  }
}

// Call work(image, counts) for all images, which share as many places to count in as there is room for.
template <class Work>
ffi::Error over_images(ffi::ThreadPool& pool, int64_t images, int64_t entries, ffi::ResultBuffer<ffi::U8>& room,
                       const Work& work) {
  const int64_t bytes = std::max<int64_t>(1, entries) * static_cast<int64_t>(sizeof(int32_t));
  const int64_t tasks = std::min(images, static_cast<int64_t>(room->size_bytes()) / bytes);
  if (images > 0 && tasks == 0) return ffi::Error::InvalidArgument("jax231: the workspace of unpooling is too small");
  parallel_for(pool, tasks, [&](int64_t task) {
    int32_t* counts = reinterpret_cast<int32_t*>(room->typed_data() + task * bytes);
    for (int64_t n = task; n < images; n += tasks) work(n, counts);
  });
  return ffi::Error::Success();
}

ffi::Error put_mean(ffi::ThreadPool pool, Numbers size, Any y, ffi::Buffer<ffi::S32> switches,
                    ffi::Result<Any> x, ffi::ResultBuffer<ffi::U8> room) {
  if (size.size() != 2) return refused();
  const int64_t images = Images(*x).count, y_images = Images(y).count, named_images = Images(switches).count;
  const int64_t c = Images(y).c, pixels = size[0] * size[1];
  const int64_t outputs = y.dimensions()[y.dimensions().size() - 3] * y.dimensions()[y.dimensions().size() - 2];
  return by_type(y.element_type(), [&](auto zero) {
    using T = decltype(zero);
    return over_images(pool, images, pixels * c, room, [&](int64_t n, int32_t* counts) {
      const T* entry = data<T>(y) + n % y_images * outputs * c;
      const int32_t* named = switches.typed_data() + n % named_images * outputs * c;
      T* image = data<T>(*x) + n * pixels * c;
      std::fill_n(image, pixels * c, T{});
      std::fill_n(counts, pixels * c, 0);
      int32_t most = 0;
      over_named(named, outputs, c, pixels, [&](int64_t e, int64_t at) {
        image[at] += entry[e];
        most = std::max(most, ++counts[at]);
      });
      if (most <= 1) return;
      for (int64_t at = 0; at < pixels * c; ++at) image[at] /= static_cast<T>(std::max(counts[at], 1));
    });
  });
}

ffi::Error take_mean(ffi::ThreadPool pool, Numbers size, Any x, ffi::Buffer<ffi::S32> switches,
                     ffi::Result<Any> y, ffi::ResultBuffer<ffi::U8> room) {
  if (size.size() != 2) return refused();
  const int64_t images = Images(*y).count, x_images = Images(x).count, named_images = Images(switches).count;
  const int64_t c = Images(x).c, pixels = size[0] * size[1];
  const int64_t outputs = y->dimensions()[y->dimensions().size() - 3] * y->dimensions()[y->dimensions().size() - 2];
  return by_type(x.element_type(), [&](auto zero) {
    using T = decltype(zero);
    return over_images(pool, images, pixels * c, room, [&](int64_t n, int32_t* counts) {
      const T* image = data<T>(x) + n % x_images * pixels * c;
      const int32_t* named = switches.typed_data() + n % named_images * outputs * c;
      T* entry = data<T>(*y) + n * outputs * c;
      std::fill_n(entry, outputs * c, T{});
      std::fill_n(counts, pixels * c, 0);
      over_named(named, outputs, c, pixels, [&](int64_t, int64_t at) { ++counts[at]; });
      over_named(named, outputs, c, pixels, [&](int64_t e, int64_t at) { entry[e] = image[at] / static_cast<T>(counts[at]); });
    });
  });
}

auto windows() { return ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Attr<Numbers>("numbers"); }
auto unpooling() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Attr<Numbers>("size")
      .Arg<Any>()
      .Arg<ffi::Buffer<ffi::S32>>()
      .Ret<Any>()
      .Ret<ffi::Buffer<ffi::U8>>();
}

}  // namespace

JAX231_KERNEL(max_pool, reduce_alone<Largest>, windows().Arg<Any>().Ret<Any>());
JAX231_KERNEL(max_pool_with_places, max_pool_with_places, windows().Arg<Any>().Ret<Any>().Ret<Any>());
JAX231_KERNEL(window_sum, reduce_alone<Sum>, windows().Arg<Any>().Ret<Any>());
JAX231_KERNEL(spread, spread, windows().Arg<Any>().Ret<Any>());
JAX231_KERNEL(read_at, read_at, windows().Arg<Any>().Arg<Any>().Ret<Any>());
JAX231_KERNEL(add_at, add_at, windows().Arg<Any>().Arg<Any>().Ret<Any>());
JAX231_KERNEL(put_mean, put_mean, unpooling());
JAX231_KERNEL(take_mean, take_mean, unpooling());

}  // namespace jax231
