// Work on XLA's own intra-op thread pool.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>

#include "xla/ffi/api/ffi.h"

namespace jax231 {

namespace ffi = xla::ffi;

// Call work(0), ..., work(tasks - 1), each once, in any order and side by side.
//
// The caller takes tasks as the pool's threads do, and waits only for tasks that have begun: a pool whose threads are
// all busy (or all waiting here themselves) delays nobody. How the work is cut must not depend on the number of threads;
// then neither do the bits of the result.
template <class Work>
void parallel_for(ffi::ThreadPool& pool, int64_t tasks, const Work& work) {
  const int64_t others = tasks > 1 ? std::min<int64_t>(tasks, pool.num_threads()) - 1 : 0;
  if (others <= 0) {
    for (int64_t task = 0; task < tasks; ++task) work(task);
    return;
  }
  struct Shared {
    std::atomic<int64_t> next{0};
    std::atomic<int64_t> done{0};
  };
  auto shared = std::make_shared<Shared>();
  const Work* todo = &work;  // outlives every task; a thread that comes too late does not look at it
  auto take = [shared, todo, tasks]() noexcept {  // no thread may leave while others still work
    for (int64_t task; (task = shared->next.fetch_add(1, std::memory_order_relaxed)) < tasks;) {
      (*todo)(task);
      shared->done.fetch_add(1, std::memory_order_release);
    }
  };
  for (int64_t other = 0; other < others; ++other) {
    auto copy = take;
    pool.Schedule(std::move(copy));
  }
  take();
  while (shared->done.load(std::memory_order_acquire) < tasks) std::this_thread::yield();
}

}  // namespace jax231
