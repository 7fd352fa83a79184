// Normalisation of every channel by its own mean and variance over the rows, with or without the positive part; its
// derivatives; and the inner products of the channels of two arrays. Each reads its arrays as often as it must: once
// for the sums, once for the values.
//
// Neighbouring rows are merged into wide ones of whole vectors, so that any number of channels runs at the speed of
// memory. Every position of a wide row has its own sums, chunk by chunk; they are added in double precision and in a
// fixed order. The rows that do not fill a wide one stand at the end and are taken entry by entry.

#include <cmath>
#include <limits>
#include <vector>

#include "kernel.h"
#include "parallel.h"
#include "simd.h"

namespace jax231 {
namespace {

struct Plan {
  int64_t lanes, rows, channels;
  int64_t merged;  // rows in a wide row
  int64_t chunk;   // wide rows in a task
  bool relu;

  int64_t width() const { return merged * channels; }
  int64_t wide() const { return rows / merged; }
  int64_t chunks() const { return std::max<int64_t>(1, (wide() + chunk - 1) / chunk); }
  int64_t first(int64_t i) const { return i * chunk; }
  int64_t last(int64_t i) const { return std::min(wide(), (i + 1) * chunk); }
  int64_t size() const { return rows * channels; }
  int64_t tail() const { return wide() * width(); }  // the first entry that no wide row holds
};

// How formulas read memory: whole vectors in wide rows, single entries in what is left.
struct ByVector {
  template <class T>
  auto operator()(const T* p) const {
    return Simd<T>::load(p);
  }
};
struct ByEntry {
  template <class T>
  T operator()(const T* p) const {
    return *p;
  }
};

// Sums over the wide rows [first, last), of `count` terms at once: out[s * width + j] for position j. terms(load, i, j,
// sums) adds the terms of what stands from entry i on, at position j.
template <int count, class T, class Terms>
inline void sum_rows(int64_t first, int64_t last, int64_t width, T* out, const Terms& terms) {
  constexpr int block = count <= 2 ? 4 : 2, step = Simd<T>::width;  // as many sums as registers hold
  using Vector = typename Simd<T>::Vector;
  int64_t j = 0;
  for (; j + block * step <= width; j += block * step) {
    Vector sums[block][count] = {};
    for (int64_t row = first; row < last; ++row) {
      for (int b = 0; b < block; ++b) terms(ByVector(), row * width + j + b * step, j + b * step, sums[b]);
    }
    for (int b = 0; b < block; ++b) {
      for (int s = 0; s < count; ++s) Simd<T>::store(out + s * width + j + b * step, sums[b][s]);
    }
  }
  for (; j < width; j += step) {
    Vector sums[count] = {};
    for (int64_t row = first; row < last; ++row) terms(ByVector(), row * width + j, j, sums);
    for (int s = 0; s < count; ++s) Simd<T>::store(out + s * width + j, sums[s]);
  }
}

// Fold what stands at each position of a wide row onto its channel.
inline void fold(const Plan& plan, std::vector<double>& values) {
  for (int64_t j = plan.channels; j < plan.width(); ++j) values[j % plan.channels] += values[j];
}

// `count` numbers of each channel, spread over the positions of a wide row.
template <class T, int count>
struct Spread {
  T* memory;
  int64_t width;

  T* operator[](int number) const { return memory + number * width; }
  void set(const Plan& plan, int64_t channel, const double (&values)[count]) const {
    for (int number = 0; number < count; ++number) {
      for (int64_t j = channel; j < width; j += plan.channels) (*this)[number][j] = static_cast<T>(values[number]);
    }
  }
};

// The affine map of each channel, z = off * slope + shift with off = x - centre, and which z are kept: all but those up
// to `bound`, which is 0 for the positive part, and NaN (no number is up to it) without.
enum { kCentre, kSlope, kShift, kAffine };

template <class T>
struct Map {
  Spread<T, kAffine> numbers;
  T bound;

  template <class Load>
  auto off(Load load, const T* x, int64_t i, int64_t j) const {
    return load(x + i) - load(numbers[kCentre] + j);
  }
  template <class Load>
  auto slope(Load load, int64_t j) const {
    return load(numbers[kSlope] + j);
  }
  // `value` where z is kept, 0 elsewhere.
  template <class Load, class V>
  V where_kept(Load load, V off, V value, int64_t j) const {
    const V z = off * slope(load, j) + load(numbers[kShift] + j), zero = {}, limit = zero + bound;
    return z <= limit ? zero : value;
  }
};

// The arrays of a call, and the two ways over them. `per_lane(lane)` gives the formula of a lane.
template <class T>
struct Call {
  struct Array {
    T* data;
    int64_t stride;  // from lane to lane
    T* operator[](int64_t lane) const { return data + lane * stride; }
  };

  ffi::ThreadPool& pool;
  const Plan& plan;
  std::vector<Array> operands, results;
  T* memory;
  int64_t parts, numbers;  // sums that a chunk keeps, and further numbers, at each position of a wide row

  const T* operand(int i, int64_t lane) const { return operands[i][lane]; }
  T* result(int i, int64_t lane) const { return results[i][lane]; }
  Map<T> map(int64_t lane) const {
    return {spread<kAffine>(lane), plan.relu ? T(0) : std::numeric_limits<T>::quiet_NaN()};
  }
  int64_t room() const { return (parts * plan.chunks() + numbers) * plan.width(); }
  T* partial(int64_t lane, int64_t chunk) const { return memory + lane * room() + parts * plan.width() * chunk; }
  template <int count>
  Spread<T, count> spread(int64_t lane, int before = 0) const {
    return {partial(lane, plan.chunks()) + before * plan.width(), plan.width()};
  }

  template <class Work>
  void over_chunks(const Work& work) const {
    const int64_t chunks = plan.chunks();
    parallel_for(pool, plan.lanes * chunks, [&](int64_t task) { work(task / chunks, task % chunks); });
  }

  // Sum `count` terms over the rows; then finish(lane, sum) with sum(s, channel).
  template <int count, class PerLane, class Finish>
  void sum(const PerLane& per_lane, const Finish& finish) const {
    const int64_t width = plan.width(), channels = plan.channels;
    over_chunks([&](int64_t lane, int64_t chunk) {
      sum_rows<count>(plan.first(chunk), plan.last(chunk), width, partial(lane, chunk), per_lane(lane));
    });
    std::vector<double> totals(count * channels), positions(width);
    for (int64_t lane = 0; lane < plan.lanes; ++lane) {
      for (int s = 0; s < count; ++s) {
        std::fill(positions.begin(), positions.end(), 0.0);
        for (int64_t chunk = 0; chunk < plan.chunks(); ++chunk) {
          const T* part = partial(lane, chunk) + s * width;
          for (int64_t j = 0; j < width; ++j) positions[j] += part[j];
        }
        fold(plan, positions);
        std::copy_n(positions.begin(), channels, totals.begin() + s * channels);
      }
      const auto terms = per_lane(lane);
      for (int64_t i = plan.tail(); i < plan.size(); ++i) {
        const int64_t c = (i - plan.tail()) % channels;
        T sums[count] = {};
        terms(ByEntry(), i, c, sums);
        for (int s = 0; s < count; ++s) totals[s * channels + c] += sums[s];
      }
      finish(lane, [&](int s, int64_t c) { return totals[s * channels + c]; });
    }
  }

  // Set every entry of the first result.
  template <class PerLane>
  void set(const PerLane& per_lane) const {
    const int64_t width = plan.width();
    over_chunks([&](int64_t lane, int64_t chunk) {
      const auto value = per_lane(lane);
      T* out = result(0, lane);
      for (int64_t row = plan.first(chunk); row < plan.last(chunk); ++row) {
        for (int64_t j = 0; j < width; j += Simd<T>::width) {
          Simd<T>::store(out + row * width + j, value(ByVector(), row * width + j, j));
        }
      }
      if (chunk + 1 < plan.chunks()) return;
      for (int64_t i = plan.tail(); i < plan.size(); ++i) {
        out[i] = value(ByEntry(), i, (i - plan.tail()) % plan.channels);
      }
    });
  }
};

// A place near the mean of each position of the chunk's wide rows, and the sum of squares and of values about it: so a
// large mean costs no digits.
template <class T>
void moments_of_chunk(const Plan& plan, int64_t chunk, const T* x, T* place) {
  const int64_t first = plan.first(chunk), last = plan.last(chunk), width = plan.width();
  const T share = last > first ? T(1) / static_cast<T>(last - first) : T(0);
  sum_rows<1>(first, last, width, place, [x](auto load, int64_t i, int64_t, auto* sums) { sums[0] += load(x + i); });
  for (int64_t j = 0; j < width; ++j) place[j] *= share;
  sum_rows<2>(first, last, width, place + width, [x, place](auto load, int64_t i, int64_t j, auto* sums) {
    const auto off = load(x + i) - load(place + j);  // the chunk is in the cache by now
    sums[0] += off * off;
    sums[1] += off;
  });
}

// The moments of every channel from those of the chunks.
template <class T>
void gather_moments(const Call<T>& call, int64_t lane, const T* x, T* mean, T* var) {
  const Plan& plan = call.plan;
  const int64_t width = plan.width(), channels = plan.channels;
  std::vector<double> centre(width), spread(width);
  const auto over_parts = [&](const auto& add) {
    for (int64_t chunk = 0; chunk < plan.chunks(); ++chunk) {
      const double count = static_cast<double>(plan.last(chunk) - plan.first(chunk));
      const T *place = call.partial(lane, chunk), *squares = place + width, *sums = squares + width;
      for (int64_t j = 0; j < width; ++j) add(j, count, place[j], squares[j], sums[j]);
    }
  };
  over_parts([&](int64_t j, double count, double place, double, double sum) {
    centre[j] += count * place + (sum == sum ? sum : 0);  // about an infinite place it is NaN
  });
  fold(plan, centre);
  for (int64_t i = plan.tail(); i < plan.size(); ++i) centre[(i - plan.tail()) % channels] += x[i];
  for (int64_t c = 0; c < channels; ++c) mean[c] = static_cast<T>(centre[c] /= static_cast<double>(plan.rows));
  for (int64_t j = channels; j < width; ++j) centre[j] = centre[j - channels];

  over_parts([&](int64_t j, double count, double place, double square, double sum) {
    const double off = place - centre[j];
    spread[j] += square + off * (2 * sum + count * off);
  });
  fold(plan, spread);
  for (int64_t i = plan.tail(); i < plan.size(); ++i) {
    const int64_t c = (i - plan.tail()) % channels;
    spread[c] += (x[i] - centre[c]) * (x[i] - centre[c]);
  }
  for (int64_t c = 0; c < channels; ++c) var[c] = static_cast<T>(spread[c] / static_cast<double>(plan.rows));
}

// Every kernel says what its arrays hold for a lane ('x' all entries, 'c' a number a channel, '1' one number), how many
// sums a chunk keeps, and how many numbers are spread. The operands begin with x, scale, bias, eps.

struct Normalize {
  static constexpr char operands[] = "xcc1", results[] = "xcc";
  static constexpr int parts = 3, numbers = kAffine;

  template <class T>
  static void run(const Call<T>& call) {
    const Plan& plan = call.plan;
    call.over_chunks([&](int64_t lane, int64_t chunk) {
      moments_of_chunk(plan, chunk, call.operand(0, lane), call.partial(lane, chunk));
    });
    for (int64_t lane = 0; lane < plan.lanes; ++lane) {
      T *mean = call.result(1, lane), *var = call.result(2, lane);
      gather_moments(call, lane, call.operand(0, lane), mean, var);
      const T *scale = call.operand(1, lane), *bias = call.operand(2, lane), eps = *call.operand(3, lane);
      const auto map = call.template spread<kAffine>(lane);
      for (int64_t c = 0; c < plan.channels; ++c) {
        const double values[] = {mean[c], scale[c] / std::sqrt(var[c] + eps), bias[c]};
        map.set(plan, c, values);
      }
    }
    call.set([&](int64_t lane) {
      return [x = call.operand(0, lane), map = call.map(lane)](auto load, int64_t i, int64_t j) {
        const auto off = map.off(load, x, i, j);
        return map.where_kept(load, off, off * map.slope(load, j) + load(map.numbers[kShift] + j), j);
      };
    });
  }
};

// For the derivatives, whose operands go on with mean and variance: spread the affine maps.
template <class T>
void spread_maps(const Call<T>& call) {
  for (int64_t lane = 0; lane < call.plan.lanes; ++lane) {
    const T *scale = call.operand(1, lane), *bias = call.operand(2, lane), eps = *call.operand(3, lane);
    const T *mean = call.operand(4, lane), *var = call.operand(5, lane);
    const auto map = call.template spread<kAffine>(lane);
    for (int64_t c = 0; c < call.plan.channels; ++c) {
      const double values[] = {mean[c], scale[c] / std::sqrt(var[c] + eps), bias[c]};
      map.set(call.plan, c, values);
    }
  }
}

// One over the deviation of a channel.
template <class T>
double inverse_deviation(const Call<T>& call, int64_t lane, int64_t c) {
  return 1 / std::sqrt(static_cast<double>(call.operand(5, lane)[c]) + *call.operand(3, lane));
}

// The change of y by changes of x, scale and bias: where z is kept,
//   dy = slope * dx + off * along + total,
//   along = dscale / deviation - slope / rows / variance * sum(dx * off),   total = dbias - slope / rows * sum(dx).
struct NormalizeTangent {
  static constexpr char operands[] = "xcc1ccxcc", results[] = "x";
  enum { kAlong, kTotal, kBack };
  static constexpr int parts = 2, numbers = kAffine + kBack;

  template <class T>
  static void run(const Call<T>& call) {
    const Plan& plan = call.plan;
    spread_maps(call);
    call.template sum<2>(
        [&](int64_t lane) {
          return [x = call.operand(0, lane), dx = call.operand(6, lane), map = call.map(lane)](auto load, int64_t i,
                                                                                               int64_t j, auto* sums) {
            sums[0] += load(dx + i);
            sums[1] += load(dx + i) * map.off(load, x, i, j);
          };
        },
        [&](int64_t lane, auto sum) {
          const T *scale = call.operand(1, lane), *dscale = call.operand(7, lane), *dbias = call.operand(8, lane);
          const auto back = call.template spread<kBack>(lane, kAffine);
          for (int64_t c = 0; c < plan.channels; ++c) {
            const double inverse = inverse_deviation(call, lane, c), share = scale[c] * inverse / plan.rows;
            const double values[] = {inverse * (dscale[c] - share * inverse * sum(1, c)), dbias[c] - share * sum(0, c)};
            back.set(plan, c, values);
          }
        });
    call.set([&](int64_t lane) {
      return [x = call.operand(0, lane), dx = call.operand(6, lane), map = call.map(lane),
              back = call.template spread<kBack>(lane, kAffine)](auto load, int64_t i, int64_t j) {
        const auto off = map.off(load, x, i, j), slope = map.slope(load, j);
        const auto dz = slope * load(dx + i) + (off * load(back[kAlong] + j) + load(back[kTotal] + j));
        return map.where_kept(load, off, dz, j);
      };
    });
  }
};

// The transpose of the tangent: with d = dy where z is kept,
//   dx = slope * d + off * along + total,   dscale = sum(d * off) / deviation,   dbias = sum(d),
//   along = -slope / rows / variance * sum(d * off),   total = -slope / rows * sum(d).
struct NormalizeGradient {
  static constexpr char operands[] = "xcc1ccx", results[] = "xcc";
  enum { kAlong, kTotal, kBack };
  static constexpr int parts = 2, numbers = kAffine + kBack;

  template <class T>
  static void run(const Call<T>& call) {
    const Plan& plan = call.plan;
    spread_maps(call);
    call.template sum<2>(
        [&](int64_t lane) {
          return [x = call.operand(0, lane), dy = call.operand(6, lane), map = call.map(lane)](auto load, int64_t i,
                                                                                               int64_t j, auto* sums) {
            const auto off = map.off(load, x, i, j);
            const auto d = map.where_kept(load, off, load(dy + i), j);
            sums[0] += d;
            sums[1] += d * off;
          };
        },
        [&](int64_t lane, auto sum) {
          const T* scale = call.operand(1, lane);
          const auto back = call.template spread<kBack>(lane, kAffine);
          for (int64_t c = 0; c < plan.channels; ++c) {
            const double inverse = inverse_deviation(call, lane, c), share = scale[c] * inverse / plan.rows;
            call.result(1, lane)[c] = static_cast<T>(inverse * sum(1, c));
            call.result(2, lane)[c] = static_cast<T>(sum(0, c));
            const double values[] = {-share * inverse * inverse * sum(1, c), -share * sum(0, c)};
            back.set(plan, c, values);
          }
        });
    call.set([&](int64_t lane) {
      return [x = call.operand(0, lane), dy = call.operand(6, lane), map = call.map(lane),
              back = call.template spread<kBack>(lane, kAffine)](auto load, int64_t i, int64_t j) {
        const auto off = map.off(load, x, i, j), slope = map.slope(load, j);
        const auto d = map.where_kept(load, off, load(dy + i), j);
        return slope * d + (off * load(back[kAlong] + j) + load(back[kTotal] + j));
      };
    });
  }
};

// The change of the gradient by changes (2 behind the name) of x, scale, mean, variance and dy: its formulas by the
// product rule, with the five sums over rows that stand in them.
struct NormalizeGradientTangent {
  static constexpr char operands[] = "xcc1ccxxcccx", results[] = "xcc";
  enum { kSlope2, kAlong, kAlong2, kTotal2, kBack };
  enum { kD, kDOff, kD2, kD2Off, kDX2, kSums };
  static constexpr int parts = kSums, numbers = kAffine + kBack;

  template <class T>
  static void run(const Call<T>& call) {
    const Plan& plan = call.plan;
    spread_maps(call);
    call.template sum<kSums>(
        [&](int64_t lane) {
          return [x = call.operand(0, lane), dy = call.operand(6, lane), x2 = call.operand(7, lane),
                  dy2 = call.operand(11, lane),
                  map = call.map(lane)](auto load, int64_t i, int64_t j, auto* sums) {
            const auto off = map.off(load, x, i, j);
            const auto d = map.where_kept(load, off, load(dy + i), j), d2 = map.where_kept(load, off, load(dy2 + i), j);
            sums[kD] += d;
            sums[kDOff] += d * off;
            sums[kD2] += d2;
            sums[kD2Off] += d2 * off;
            sums[kDX2] += d * load(x2 + i);
          };
        },
        [&](int64_t lane, auto sum) {
          const T *scale = call.operand(1, lane), *scale2 = call.operand(8, lane);
          const T *mean2 = call.operand(9, lane), *var2 = call.operand(10, lane);
          const auto back = call.template spread<kBack>(lane, kAffine);
          for (int64_t c = 0; c < plan.channels; ++c) {
            const double inverse = inverse_deviation(call, lane, c), square = inverse * inverse;
            const double inverse2 = -0.5 * inverse * square * var2[c];
            const double slope = scale[c] * inverse, slope2 = scale2[c] * inverse + scale[c] * inverse2;
            const double dot = sum(kDOff, c), dot2 = sum(kD2Off, c) + sum(kDX2, c) - mean2[c] * sum(kD, c);
            call.result(1, lane)[c] = static_cast<T>(inverse2 * dot + inverse * dot2);
            call.result(2, lane)[c] = static_cast<T>(sum(kD2, c));
            const double along = -slope * square * dot / plan.rows;
            const double cube2 = slope2 * square + 2 * slope * inverse * inverse2;
            const double along2 = -(cube2 * dot + slope * square * dot2) / plan.rows;
            const double total2 = -(slope2 * sum(kD, c) + slope * sum(kD2, c)) / plan.rows - mean2[c] * along;
            const double values[] = {slope2, along, along2, total2};
            back.set(plan, c, values);
          }
        });
    call.set([&](int64_t lane) {
      return [x = call.operand(0, lane), dy = call.operand(6, lane), x2 = call.operand(7, lane),
              dy2 = call.operand(11, lane), map = call.map(lane),
              back = call.template spread<kBack>(lane, kAffine)](auto load, int64_t i, int64_t j) {
        const auto off = map.off(load, x, i, j), slope = map.slope(load, j);
        const auto d2 = slope * load(dy2 + i) + load(back[kSlope2] + j) * load(dy + i);
        return map.where_kept(load, off, d2, j) + load(x2 + i) * load(back[kAlong] + j) +
               (off * load(back[kAlong2] + j) + load(back[kTotal2] + j));
      };
    });
  }
};

// The inner product of every channel of x with that of y.
struct ChannelDots {
  static constexpr char operands[] = "xx", results[] = "c";
  static constexpr int parts = 1, numbers = 0;

  template <class T>
  static void run(const Call<T>& call) {
    call.template sum<1>(
        [&](int64_t lane) {
          return [x = call.operand(0, lane), y = call.operand(1, lane)](auto load, int64_t i, int64_t, auto* sums) {
            sums[0] += load(x + i) * load(y + i);
          };
        },
        [&](int64_t lane, auto sum) {
          for (int64_t c = 0; c < call.plan.channels; ++c) call.result(0, lane)[c] = static_cast<T>(sum(0, c));
        });
  }
};

// Entries of a lane of an array that a kernel describes by `kind`.
int64_t entries(const Plan& plan, char kind) { return kind == 'x' ? plan.size() : kind == 'c' ? plan.channels : 1; }

template <class Kernel, class T>
ffi::Error call(ffi::ThreadPool& pool, const Plan& plan, ffi::DataType dtype, ffi::RemainingArgs& args,
                ffi::RemainingRets& rets, const int64_t* laned) {
  const auto misfit = ffi::Error::InvalidArgument("normalization: the arrays do not fit the plan");
  Call<T> call{pool, plan, {}, {}, nullptr, Kernel::parts, Kernel::numbers};
  for (size_t i = 0; i < args.size(); ++i) {
    const auto array = args.get<ffi::AnyBuffer>(i);
    const int64_t size = entries(plan, Kernel::operands[i]);
    if (!array || array->element_type() != dtype ||
        static_cast<int64_t>(array->element_count()) != (laned[i] ? plan.lanes : 1) * size) {
      return misfit;
    }
    call.operands.push_back({array->template typed_data<T>(), laned[i] ? size : 0});
  }
  for (size_t i = 0; i + 1 < rets.size(); ++i) {
    auto array = rets.get<ffi::AnyBuffer>(i);
    const int64_t size = entries(plan, Kernel::results[i]);
    if (!array || (**array).element_type() != dtype ||
        static_cast<int64_t>((**array).element_count()) != plan.lanes * size) {
      return misfit;
    }
    call.results.push_back({(**array).template typed_data<T>(), size});
  }
  auto workspace = rets.get<ffi::AnyBuffer>(rets.size() - 1);
  if (!workspace || (**workspace).size_bytes() < plan.lanes * call.room() * sizeof(T)) return misfit;
  call.memory = reinterpret_cast<T*>((**workspace).untyped_data());
  Kernel::run(call);
  return ffi::Error::Success();
}

template <class Kernel>
ffi::Error run(ffi::ThreadPool pool, ffi::RemainingArgs args, ffi::RemainingRets rets,
               ffi::Span<const int64_t> numbers) {
  constexpr size_t operands = sizeof(Kernel::operands) - 1, results = sizeof(Kernel::results) - 1, plain = 6;
  const int64_t* n = numbers.begin();
  const bool counts = args.size() == operands && rets.size() == results + 1 && numbers.size() == plain + operands;
  if (!counts || *std::min_element(n, n + plain - 1) < 1) {
    return ffi::Error::InvalidArgument("normalization: the plan is not one");
  }
  const Plan plan{n[0], n[1], n[2], n[3], n[4], n[5] != 0};
  const auto x = args.get<ffi::AnyBuffer>(0);
  if (!x) return x.error();
  if (plan.width() % (kVectorBytes / ffi::ByteWidth(x->element_type())) != 0) {
    return ffi::Error::InvalidArgument("normalization: a wide row is not made of whole vectors");
  }
  if (x->element_type() == ffi::F32) return call<Kernel, float>(pool, plan, ffi::F32, args, rets, n + plain);
  if (x->element_type() == ffi::F64) return call<Kernel, double>(pool, plan, ffi::F64, args, rets, n + plain);
  return ffi::Error::InvalidArgument("normalization: expected float32 or float64");
}

auto binding() {
  return ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().RemainingArgs().RemainingRets().Attr<ffi::Span<const int64_t>>("plan");
}

JAX231_KERNEL(normalize, run<Normalize>, binding());
JAX231_KERNEL(normalize_tangent, run<NormalizeTangent>, binding());
JAX231_KERNEL(normalize_gradient, run<NormalizeGradient>, binding());
JAX231_KERNEL(normalize_gradient_tangent, run<NormalizeGradientTangent>, binding());
JAX231_KERNEL(channel_dots, run<ChannelDots>, binding());

}  // namespace
}  // namespace jax231
