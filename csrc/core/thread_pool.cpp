// SPDX-License-Identifier: Apache-2.0
#include "core/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include "core/float_mode.h"
#include "glc/error.h"
#include "glc/threads.h"

namespace glc {
namespace {

constexpr int kMaxThreads = 256;

int cpus() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int checked_threads(long n) {
  if (n < 1 || n > kMaxThreads) {
    throw InvalidArgument("threads: expected 1.." + std::to_string(kMaxThreads) + ", got " +
                          std::to_string(n));
  }
  return static_cast<int>(n);
}

int first_threads() {
  const char* asked = std::getenv("GLC_NUM_THREADS");  // NOLINT(concurrency-mt-unsafe)
  if (asked == nullptr || *asked == '\0') return std::min(cpus(), kMaxThreads);
  char* end = nullptr;
  const long n = std::strtol(asked, &end, 10);
  if (*end != '\0' || n < 1 || n > kMaxThreads) {
    throw InvalidArgument("threads: GLC_NUM_THREADS: expected 1.." + std::to_string(kMaxThreads) +
                          ", got " + asked);
  }
  return static_cast<int>(n);
}

std::atomic<int> g_wanted_threads = 0;  // 0: not asked yet

/// Work of one parallel_for: whoever is free takes the next number.
class Job {
 public:
  Job(std::size_t n, void (*call)(void*, std::size_t), void* f) : n_(n), call_(call), f_(f) {}

  void work() noexcept {
    const IeeeFloats mode;
    for (std::size_t i = next_++; i < n_; i = next_++) {
      try {
        call_(f_, i);
      } catch (...) {
        const std::lock_guard lock(mutex_);
        if (!error_) error_ = std::current_exception();
        next_ = n_;
      }
    }
  }
  /// After all work: throws what a call threw.
  void raise() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::size_t n_;
  void (*call_)(void*, std::size_t);
  void* f_;
  std::atomic<std::size_t> next_ = 0;
  std::mutex mutex_;
  std::exception_ptr error_;
};

class Pool {
 public:
  /// False when the pool is taken: then nothing was done.
  bool run(Job& job, int n_helpers) {
    if (taken_.exchange(true)) return false;
    {
      const std::lock_guard lock(mutex_);
      start(n_helpers);
      job_ = &job;
      invited_ = n_helpers;
    }
    wake_.notify_all();
    job.work();
    std::unique_lock lock(mutex_);
    invited_ = 0;  // who has not come by now need not
    idle_.wait(lock, [this] { return busy_ == 0; });
    job_ = nullptr;
    taken_ = false;
    return true;
  }

 private:
  /// As many as the system grants; the caller works in any case.
  void start(int n_helpers) {
    try {
      while (std::ssize(workers_) < n_helpers) workers_.emplace_back(&Pool::worker, this);
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch)
    }
  }

  void worker() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return invited_ > 0; });
      --invited_;
      ++busy_;
      Job* job = job_;
      lock.unlock();
      job->work();
      lock.lock();
      if (--busy_ == 0) idle_.notify_one();
    }
  }

  std::atomic<bool> taken_ = false;  // one job at a time
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  Job* job_ = nullptr;
  int invited_ = 0;
  int busy_ = 0;
  std::vector<std::thread> workers_;
};

// Never destroyed: its threads wait in it until the process ends. A forked child has none of them,
// nor those of another runtime, so it starts with a pool of its own.
std::atomic<Pool*> g_pool = nullptr;
std::atomic<Team> g_team = nullptr;

void start_pool() {
  g_team = nullptr;
  g_pool = new (std::nothrow) Pool;  // NOLINT(cppcoreguidelines-owning-memory)
}

/// Null when there was no memory for one.
Pool* pool() {
  static const bool once = [] {
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork(nullptr, nullptr, &start_pool);
#endif
    start_pool();
    return true;
  }();
  static_cast<void>(once);
  return g_pool;
}

/// Works on the job with several threads; false when there is but this one: then nothing was done.
bool spread(Job& job, int n_threads) {
  if (n_threads < 2) return false;
  if (const Team team = g_team) {
    const auto work = [](void* some) { static_cast<Job*>(some)->work(); };
    team(work, &job, static_cast<unsigned>(n_threads), 0);
    return true;
  }
  Pool* const own = pool();
  return own != nullptr && own->run(job, n_threads - 1);
}

}  // namespace

int threads() {
  int n = g_wanted_threads;
  if (n == 0) {
    const int first = first_threads();
    if (g_wanted_threads.compare_exchange_strong(n, first)) n = first;
  }
  return n;
}

void set_threads(int n) { g_wanted_threads = checked_threads(n); }

void detail::parallel_for(std::size_t n, void (*call)(void* f, std::size_t i), void* f) {
  Job job(n, call, f);
  if (!spread(job, static_cast<int>(std::min(n, static_cast<std::size_t>(threads()))))) job.work();
  job.raise();
}

void use_team(Team team) {
  pool();  // a fork is prepared for
  g_team = team;
}

}  // namespace glc
