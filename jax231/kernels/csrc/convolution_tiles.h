// Output pixels cut into tiles, and how a sum over a tile's pixels runs through memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "ceil_div.h"
#include "convolution.h"
#include "simd.h"

namespace jax231 {

struct Range {
  int64_t begin, end;
  int64_t size() const { return std::max<int64_t>(end - begin, 0); }
  Range operator&(Range other) const { return {std::max(begin, other.begin), std::min(end, other.end)}; }
};

// The i with 0 <= i * stride + shift < size.
inline Range inside(int64_t shift, int64_t stride, int64_t size) {
  return {ceil_div(-shift, stride), ceil_div(size - shift, stride)};
}

// Part `i` of 0 .. size cut into `parts` nearly equal ones.
inline Range part(int64_t size, int64_t parts, int64_t i) { return {size * i / parts, size * (i + 1) / parts}; }

// Some output pixels: columns of rows of images.
struct Tile {
  Range images, rows, columns;
  int64_t pixels() const { return images.size() * rows.size() * columns.size(); }
};

// The output cut into tiles of about `pixels`: whole images if small, otherwise whole rows if small.
struct Tiles {
  int64_t n, oh, ow, images, rows, columns;

  Tiles() = default;
  Tiles(const Convolution& s, int64_t pixels) : n(s.n), oh(s.oh), ow(s.ow) {
    images = ceil_div(n, std::max<int64_t>(pixels / (oh * ow), 1));
    rows = oh * ow <= pixels ? 1 : ceil_div(oh, std::max<int64_t>(pixels / ow, 1));
    columns = ow <= 2 * pixels ? 1 : ceil_div(ow, pixels);
  }
  int64_t count() const { return images * rows * columns; }
  int64_t largest() const { return ceil_div(n, images) * ceil_div(oh, rows) * ceil_div(ow, columns); }
  Tile operator[](int64_t i) const {
    return {part(n, images, i / (rows * columns)), part(oh, rows, i / columns % rows), part(ow, columns, i % columns)};
  }
};

// How a sum over pixels runs through x and y: numbers and strides of images, rows and pixels.
struct Walk {
  int64_t images, rows, pixels;
  int64_t x_image, x_row, x_pixel;
  int64_t y_image, y_row, y_pixel;

  // One long loop where nothing lies between the rows, or the images.
  Walk joined() const {
    Walk w = *this;
    if (w.x_row == w.pixels * w.x_pixel && w.y_row == w.pixels * w.y_pixel) w.pixels *= std::exchange(w.rows, 1);
    if (w.rows == 1 && w.x_image == w.pixels * w.x_pixel && w.y_image == w.pixels * w.y_pixel) {
      w.pixels *= std::exchange(w.images, 1);
    }
    return w;
  }
};

}  // namespace jax231
