// The static numbers of a convolution, shared by the three maps: output, input gradient, kernel gradient.
//
// Layouts: x ([lanes,] n, h, w, groups * cin), kernel ([lanes,] kh, kw, cin, cout), y ([lanes,] n, oh, ow, cout); output
// channels [g * cout / groups, (g + 1) * cout / groups) see the input channels [g * cin, (g + 1) * cin). An operand
// without lanes serves all lanes, the result always has them. Window (oy, ox) reads the image at row
// oy * stride - pad + i * dilation, columns alike; what lies outside the image is zero. Pads may be negative.
#pragma once

#include <cstdint>
#include <optional>

namespace jax231 {

struct Convolution {
  static constexpr int kNumbers = 19;  // as many as the attribute `geometry` holds, in the order of the fields

  int64_t lanes;
  int64_t first_laned, second_laned;  // whether the first and the second operand have an axis of lanes
  int64_t n, h, w;
  int64_t cin;   // input channels of one group
  int64_t cout;  // output channels of all groups
  int64_t kh, kw, oh, ow;
  int64_t stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
  int64_t groups;

  // Sizes of one lane.
  int64_t x_size() const { return n * h * w * groups * cin; }
  int64_t kernel_size() const { return kh * kw * cin * cout; }
  int64_t y_size() const { return n * oh * ow * cout; }

  int64_t group_cout() const { return cout / groups; }
  bool depthwise() const { return cin == 1 && cout == groups && groups > 1; }
  // Multiplications and additions of one lane, those with padding counted in.
  int64_t multiply_adds() const { return y_size() * kh * kw * cin; }

  // Nothing if the numbers are not those of a convolution.
  static std::optional<Convolution> decode(const int64_t* a, int64_t count) {
    if (count != kNumbers) return std::nullopt;
    const Convolution c{a[0], a[1],  a[2],  a[3],  a[4],  a[5],  a[6],  a[7],  a[8], a[9],
                        a[10], a[11], a[12], a[13], a[14], a[15], a[16], a[17], a[18]};
    for (int i : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}) {
      if (a[i] < 0) return std::nullopt;
    }
    for (int i : {12, 13, 16, 17, 18}) {
      if (a[i] < 1) return std::nullopt;
    }
    if (c.cout % c.groups != 0) return std::nullopt;
    return c;
  }
};

}  // namespace jax231
