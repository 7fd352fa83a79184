// The output of a convolution and its gradient by the input.

#include "convolution.h"

#include "convolution_maps.h"
#include "kernel.h"
#include "parallel.h"

namespace jax231 {

template <class T, ffi::DataType dtype, bool transposed>
static ffi::Error run(ffi::ThreadPool pool, ffi::Buffer<dtype> source, ffi::Buffer<dtype> kernel,
                      ffi::Result<ffi::Buffer<dtype>> target, ffi::Result<ffi::Buffer<ffi::U8>> workspace,
                      ffi::Span<const int64_t> geometry) {
  const auto c = Convolution::decode(geometry.begin(), geometry.size());
  if (!c) return ffi::Error::InvalidArgument("convolution: the geometry is not one");
  const auto counts = [&](int64_t elements, bool laned, int64_t lane) {
    return elements == (laned ? c->lanes : 1) * lane;
  };
  const int64_t first = transposed ? c->y_size() : c->x_size(), out = transposed ? c->x_size() : c->y_size();
  if (!counts(source.element_count(), c->first_laned, first) ||
      !counts(kernel.element_count(), c->second_laned, c->kernel_size()) ||
      static_cast<int64_t>(target->element_count()) != c->lanes * out ||
      static_cast<int64_t>(workspace->element_count()) < convolve_workspace(*c, transposed, sizeof(T))) {
    return ffi::Error::InvalidArgument("convolution: the arrays do not have the sizes of the geometry");
  }
  convolve(*c, transposed, source.typed_data(), kernel.typed_data(), target->typed_data(),
           reinterpret_cast<T*>(workspace->typed_data()),
           [&pool](int64_t tasks, const auto& work) { parallel_for(pool, tasks, work); });
  return ffi::Error::Success();
}

template <ffi::DataType dtype>
static auto binding() {
  return ffi::Ffi::Bind()
      .template Ctx<ffi::ThreadPool>()
      .template Arg<ffi::Buffer<dtype>>()
      .template Arg<ffi::Buffer<dtype>>()
      .template Ret<ffi::Buffer<dtype>>()
      .template Ret<ffi::Buffer<ffi::U8>>()
      .template Attr<ffi::Span<const int64_t>>("geometry");
}

JAX231_KERNEL(conv_output_f32, (run<float, ffi::F32, false>), binding<ffi::F32>());
JAX231_KERNEL(conv_output_f64, (run<double, ffi::F64, false>), binding<ffi::F64>());
JAX231_KERNEL(conv_input_f32, (run<float, ffi::F32, true>), binding<ffi::F32>());
JAX231_KERNEL(conv_input_f64, (run<double, ffi::F64, true>), binding<ffi::F64>());

// Bytes of the workspace; -1 if the numbers are not those of a convolution.
static int64_t workspace_bytes(const int64_t* geometry, int count, int itemsize, bool transposed) {
  const auto c = Convolution::decode(geometry, count);
  return c ? convolve_workspace(*c, transposed, itemsize) : -1;
}

}  // namespace jax231

JAX231_EXPORT int64_t jax231_conv_output_workspace(const int64_t* geometry, int count, int itemsize) {
  return jax231::workspace_bytes(geometry, count, itemsize, false);
}

JAX231_EXPORT int64_t jax231_conv_input_workspace(const int64_t* geometry, int count, int itemsize) {
  return jax231::workspace_bytes(geometry, count, itemsize, true);
}
