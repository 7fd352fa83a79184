// Output and input gradient of a convolution, in the form its shape asks for.
#pragma once

#include <algorithm>
#include <cstdint>

#include "convolution.h"
#include "convolution_depthwise.h"
#include "convolution_gather.h"

namespace jax231 {

// Bytes of memory in which `convolve` keeps the kernel as it reads it.
inline int64_t convolve_workspace(const Convolution& c, bool transposed, int64_t itemsize) {
  const int64_t bytes = itemsize == 8 ? Gather<double>::workspace(c, transposed) : Gather<float>::workspace(c, transposed);
  return std::max<int64_t>(64, c.depthwise() ? 0 : bytes * (c.second_laned ? c.lanes : 1));
}

// y of x and kernel or, transposed, x of y and kernel. `parallel(tasks, work)` calls work(0), ..., work(tasks - 1).
template <class T, class Parallel>
void convolve(Convolution c, bool transposed, const T* source, const T* kernel, T* target, T* workspace,
              const Parallel& parallel) {
  if (c.first_laned && !c.second_laned) {  // one kernel for all: lanes are more images
    c.n *= c.lanes;
    c.lanes = 1;
  }
  const int64_t target_size = transposed ? c.x_size() : c.y_size(), source_size = transposed ? c.y_size() : c.x_size();
  if (c.lanes * target_size == 0) return;
  const int64_t source_lane = c.first_laned ? source_size : 0, kernel_lane = c.second_laned ? c.kernel_size() : 0;

  if (c.depthwise()) {
    const Depthwise<T> form(c, transposed);
    const int64_t tasks = form.chunks();
    parallel(c.lanes * tasks, [&](int64_t task) {
      const int64_t lane = task / tasks;
      form.run(task % tasks, source + lane * source_lane, kernel + lane * kernel_lane, target + lane * target_size);
    });
    return;
  }
  const Gather<T> form(c, transposed);
  const int64_t panels = c.groups * form.blocks, packed = form.packed_size();
  const bool whole = c.lanes * form.tasks == 1;  // too small to share
  const auto pack = [&](int64_t task) {
    const int64_t lane = task / panels, panel = task % panels;
    form.pack(kernel + lane * kernel_lane, workspace + lane * packed, panel / form.blocks, panel % form.blocks);
  };
  const int64_t packs = (c.second_laned ? c.lanes : 1) * panels;
  if (whole || packs * form.panel_size() < 10000) {
    for (int64_t task = 0; task < packs; ++task) pack(task);
  } else {
    parallel(packs, pack);
  }
  parallel(c.lanes * form.tasks, [&](int64_t task) {
    const int64_t lane = task / form.tasks;
    form.run(task % form.tasks, source + lane * source_lane, workspace + (c.second_laned ? lane * packed : 0),
             target + lane * target_size);
  });
}

}  // namespace jax231
