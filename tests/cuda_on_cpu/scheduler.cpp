// SPDX-License-Identifier: Apache-2.0
//
// Under the thread sanitizer this file is compiled without instrumentation: its own variables are
// shared by all fibers on purpose. What a kernel may rely on is said through sanitizers.h alone:
//
//   launch     the host's stores before it are seen by every thread, and theirs by the host after
//   block      __syncthreads orders all threads of the block
//   warp       __syncwarp orders the lanes of its mask; other collectives exchange values only
//   blocks     are not ordered among each other, although they run one after another
#include "cuda_on_cpu/scheduler.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "cuda_on_cpu/block_memory.h"
#include "cuda_on_cpu/fiber.h"
#include "cuda_on_cpu/random.h"

namespace cuda_on_cpu {
namespace {

constexpr unsigned kLanes = 32;

enum class State : unsigned char { kReady, kAtWarp, kAtBlock, kDone };

struct Thread {
  Fiber fiber;
  ThreadPlace place;
  State state;
  Site site;      // of the collective it waits in
  unsigned mask;  // and what it brought there
  std::uint64_t value;
  int argument;
  Combine combine;
  std::uint64_t reply;
};

/// An address for the thread sanitizer. Two take turns, so that whoever leaves a barrier late does
/// not learn what another did on the way to the next one.
struct Barrier {
  char turns[2];
  unsigned generation;
  void* turn() { return &turns[generation % 2]; }
};

struct Warp {
  unsigned live;
  unsigned waiting;
  Barrier barriers[kLanes];  // of the group whose lowest lane it is
};

class Scheduler {
 public:
  void launch(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body);
  std::uint64_t meet_warp(unsigned, std::uint64_t, int, Combine, bool, Site);
  unsigned meet_block(bool value, Site site);
  void* shared_memory(const void* key, std::size_t bytes) { return memory_.find(key, bytes); }
  [[noreturn]] void report(const char* what, Site site) const;
  /// Straight to whoever is next: by way of the host it would be two switches.
  void yield() {
    Thread& me = *current_;
    Thread* const other = next();
    if (other != &me) run(other, me.fiber);
  }

  [[nodiscard]] const Thread& current() const { return *current_; }
  void set_seed(std::uint64_t seed) { random_ = seed * 0x9E3779B97F4A7C15U; }

 private:
  static void entry();
  void start_block(uint3 block, dim3 block_dim, dim3 grid_dim);
  void begin_round();
  Thread* next();
  void run(Thread* thread, Fiber& from, bool final = false);
  void finish_thread();
  void complete_warp(unsigned warp);
  void complete_block();
  void fail_if_apart(const Thread& one, const Thread& other) const;
  [[noreturn]] void report_deadlock() const;

  Fiber host_;
  std::unique_ptr<Thread[]> threads_ = std::make_unique<Thread[]>(kMostThreads);
  Warp warps_[kMostThreads / kLanes];
  Barrier block_barrier_;
  unsigned n_threads_ = 0;
  unsigned n_live_ = 0;
  unsigned n_at_block_ = 0;
  unsigned n_true_ = 0;           // of those, who brought true
  unsigned order_[kMostThreads];  // of a round, in which each thread that can runs once
  unsigned n_in_round_ = 0;
  unsigned at_ = 0;
  bool progress_ = false;  // in this round
  Thread* current_ = nullptr;
  Fiber* left_ = nullptr;  // by the last switch
  const std::function<void()>* body_ = nullptr;
  std::uint64_t random_ = 0;
  BlockMemory memory_;
  char launch_began_ = 0;  // addresses for the thread sanitizer
  char launch_ended_ = 0;
};

Scheduler& scheduler() {
  thread_local Scheduler one;
  return one;
}

void print_place(const Thread& thread) {
  const ThreadPlace& p = thread.place;
  std::fprintf(stderr,
               "  block (%u, %u, %u), thread (%u, %u, %u), warp %u, lane %u",
               p.block.x,
               p.block.y,
               p.block.z,
               p.thread.x,
               p.thread.y,
               p.thread.z,
               p.warp,
               p.lane);
}

void Scheduler::report(const char* what, Site site) const {
  std::fprintf(stderr, "cuda_on_cpu: %s:%d: %s\n", site.file, site.line, what);
  print_place(*current_);
  std::fprintf(stderr, "\n");
  std::abort();
}

void Scheduler::report_deadlock() const {
  std::fprintf(stderr, "cuda_on_cpu: deadlock: every live thread of the block waits\n");
  for (unsigned i = 0; i < n_threads_; ++i) {
    const Thread& thread = threads_[i];
    if (thread.state == State::kDone) continue;
    print_place(thread);
    std::fprintf(stderr, ": waits at %s:%d", thread.site.file, thread.site.line);
    if (thread.state == State::kAtWarp) {
      const Warp& warp = warps_[thread.place.warp];
      unsigned absent = thread.mask & warp.live;
      for (unsigned lane = 0; lane < kLanes; ++lane) {
        const unsigned other = thread.place.warp * kLanes + lane;
        const bool came = other < n_threads_ && threads_[other].state == State::kAtWarp &&
                          threads_[other].mask == thread.mask;
        if (came) absent &= ~(1U << lane);
      }
      std::fprintf(stderr, " for mask 0x%08x, of which 0x%08x are absent", thread.mask, absent);
    } else {
      std::fprintf(stderr, " for the block, %u of %u have come", n_at_block_, n_live_);
    }
    std::fprintf(stderr, "\n");
  }
  std::abort();
}

void Scheduler::fail_if_apart(const Thread& one, const Thread& other) const {
  const bool together =
      one.combine == other.combine && one.site.line == other.site.line &&
      (one.site.file == other.site.file || std::strcmp(one.site.file, other.site.file) == 0);
  if (together) return;
  std::fprintf(stderr,
               "cuda_on_cpu: %s:%d: divergent: waits for threads that are in another collective\n",
               one.site.file,
               one.site.line);
  print_place(one);
  std::fprintf(stderr, "\n  the other is at %s:%d\n", other.site.file, other.site.line);
  print_place(other);
  std::fprintf(stderr, "\n");
  std::abort();
}

std::uint64_t Scheduler::meet_warp(unsigned mask,
                                   std::uint64_t value,
                                   int argument,
                                   Combine combine,
                                   bool orders_memory,
                                   Site site) {
  Thread& me = *current_;
  Warp& warp = warps_[me.place.warp];
  if ((mask >> me.place.lane & 1U) == 0) report("the caller is not in its own mask", site);
  me.site = site;
  me.mask = mask;
  me.value = value;
  me.argument = argument;
  me.combine = combine;
  me.state = State::kAtWarp;
  warp.waiting |= 1U << me.place.lane;
  void* const turn = warp.barriers[__builtin_ctz(mask)].turn();
  if (orders_memory) sanitizers::release(turn);
  if ((mask & warp.live & ~warp.waiting) == 0) complete_warp(me.place.warp);
  while (me.state == State::kAtWarp) yield();
  if (orders_memory) sanitizers::acquire(turn);
  return me.reply;
}

/// Lets every group go whose live lanes have all come.
void Scheduler::complete_warp(unsigned index) {
  Warp& warp = warps_[index];
  Thread* const lanes = &threads_[std::size_t{index} * kLanes];
  for (unsigned left = warp.waiting; left != 0;) {
    const Thread& first = lanes[__builtin_ctz(left)];
    Meeting meeting;
    meeting.lanes = 0;
    meeting.site = first.site;
    for (unsigned rest = left; rest != 0; rest &= rest - 1) {
      const int lane = __builtin_ctz(rest);
      if (lanes[lane].mask == first.mask) meeting.lanes |= 1U << lane;
    }
    left &= ~meeting.lanes;
    if ((first.mask & warp.live) != meeting.lanes) continue;
    meeting.each([&](int lane) {
      fail_if_apart(lanes[lane], first);
      meeting.value[lane] = lanes[lane].value;
      meeting.argument[lane] = lanes[lane].argument;
    });
    first.combine(meeting);
    meeting.each([&](int lane) {
      lanes[lane].reply = meeting.reply[lane];
      lanes[lane].state = State::kReady;
    });
    warp.waiting &= ~meeting.lanes;
    ++warp.barriers[__builtin_ctz(first.mask)].generation;
  }
}

unsigned Scheduler::meet_block(bool value, Site site) {
  Thread& me = *current_;
  me.site = site;
  me.combine = nullptr;
  me.state = State::kAtBlock;
  n_true_ += value ? 1 : 0;
  void* const turn = block_barrier_.turn();
  sanitizers::release(turn);
  ++n_at_block_;
  complete_block();
  while (me.state == State::kAtBlock) yield();
  sanitizers::acquire(turn);
  return static_cast<unsigned>(me.reply);
}

void Scheduler::complete_block() {
  if (n_at_block_ == 0 || n_at_block_ != n_live_) return;
  const Thread* first = nullptr;
  for (unsigned i = 0; i < n_threads_; ++i) {
    Thread& thread = threads_[i];
    if (thread.state != State::kAtBlock) continue;
    if (first == nullptr) first = &thread;
    fail_if_apart(thread, *first);
    thread.reply = n_true_;
    thread.state = State::kReady;
  }
  n_at_block_ = n_true_ = 0;
  ++block_barrier_.generation;
}

void Scheduler::entry() {
  Scheduler& s = scheduler();
  Fiber::entered(*s.left_);
  sanitizers::acquire(&s.launch_began_);
  (*s.body_)();
  sanitizers::release(&s.launch_ended_);
  s.finish_thread();
  Fiber& mine = s.current_->fiber;
  s.run(s.next(), mine, /*final=*/true);
  std::abort();
}

void Scheduler::finish_thread() {
  current_->state = State::kDone;
  --n_live_;
  warps_[current_->place.warp].live &= ~(1U << current_->place.lane);
  complete_warp(current_->place.warp);  // the others may have waited for this one only
  complete_block();
}

void Scheduler::start_block(uint3 block, dim3 block_dim, dim3 grid_dim) {
  n_threads_ = n_live_ = block_dim.x * block_dim.y * block_dim.z;
  n_at_block_ = n_true_ = 0;
  for (Warp& warp : warps_) warp.live = warp.waiting = 0;
  memory_.begin_block();
  sanitizers::release(&launch_began_);
  for (unsigned i = 0; i < n_threads_; ++i) {
    Thread& thread = threads_[i];
    const unsigned row = i / block_dim.x;
    thread.place = {.thread = {i % block_dim.x, row % block_dim.y, row / block_dim.y},
                    .block = block,
                    .block_dim = block_dim,
                    .grid_dim = grid_dim,
                    .lane = i % kLanes,
                    .warp = i / kLanes};
    thread.state = State::kReady;
    thread.fiber.restart(&Scheduler::entry);
    warps_[i / kLanes].live |= 1U << i % kLanes;
  }
  std::iota(order_, order_ + n_threads_, 0U);
  n_in_round_ = n_threads_;
  begin_round();
}

void Scheduler::begin_round() {
  if (n_in_round_ > 2 * n_live_) {
    const auto done = [this](unsigned i) { return threads_[i].state == State::kDone; };
    n_in_round_ =
        static_cast<unsigned>(std::remove_if(order_, order_ + n_in_round_, done) - order_);
  }
  if (random_ != 0) shuffle(order_, n_in_round_, random_);
  at_ = 0;
  progress_ = false;
}

/// The thread that runs next; none when all of the block are done.
Thread* Scheduler::next() {
  while (n_live_ != 0) {
    while (at_ < n_in_round_) {
      Thread& thread = threads_[order_[at_++]];
      if (thread.state != State::kReady) continue;
      progress_ = true;
      return &thread;
    }
    if (!progress_) report_deadlock();
    begin_round();
  }
  return nullptr;
}

/// Leaves `from` for a thread, or for the host.
void Scheduler::run(Thread* thread, Fiber& from, bool final) {
  current_ = thread;
  left_ = &from;
  (thread == nullptr ? host_ : thread->fiber).switch_from(from, final);
}

void Scheduler::launch(dim3 grid,
                       dim3 block,
                       std::size_t shared_bytes,
                       const std::function<void()>& body) {
  body_ = &body;
  host_.adopt_current();
  memory_.begin_launch(shared_bytes);
  std::vector<std::size_t> order(std::size_t{grid.x} * grid.y * grid.z);
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (random_ != 0) shuffle(order.data(), order.size(), random_);
  for (const std::size_t index : order) {
    const std::size_t row = index / grid.x;
    start_block({static_cast<unsigned>(index % grid.x),
                 static_cast<unsigned>(row % grid.y),
                 static_cast<unsigned>(row / grid.y)},
                block,
                grid);
    run(next(), host_);
    memory_.end_block();
  }
  sanitizers::acquire(&launch_ended_);
  memory_.end_launch();
  current_ = nullptr;
}

}  // namespace

const ThreadPlace& this_thread() { return scheduler().current().place; }

std::uint64_t meet_warp(unsigned mask,
                        std::uint64_t value,
                        int argument,
                        Combine combine,
                        bool orders_memory,
                        Site site) {
  return scheduler().meet_warp(mask, value, argument, combine, orders_memory, site);
}
unsigned meet_block(bool value, Site site) { return scheduler().meet_block(value, site); }

void fence() {
  static char every_fence;
  sanitizers::release(&every_fence);
  sanitizers::acquire(&every_fence);
}
void yield() { scheduler().yield(); }
void report(const char* what, Site site) { scheduler().report(what, site); }

void* shared_memory(const void* key, std::size_t bytes) {
  return scheduler().shared_memory(key, bytes);
}
void* dynamic_shared_memory() { return scheduler().shared_memory(nullptr, 0); }

void run_grid(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body) {
  scheduler().launch(grid, block, shared_bytes, body);
}

void set_seed(std::uint64_t seed) { scheduler().set_seed(seed); }

}  // namespace cuda_on_cpu
