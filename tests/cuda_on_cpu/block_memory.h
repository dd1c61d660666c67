// SPDX-License-Identifier: Apache-2.0
// The __shared__ variables of the block that runs. For scheduler.cpp alone, which the thread
// sanitizer does not instrument.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

#include "cuda_on_cpu/sanitizers.h"
#include "cuda_on_cpu/scheduler.h"

namespace cuda_on_cpu {

class BlockMemory {
 public:
  /// The null key names the dynamic ones.
  void begin_launch(std::size_t dynamic_bytes) { variables_.assign(1, {nullptr, dynamic_bytes}); }
  /// Every variable anew, with nothing of the block before in it.
  void begin_block() {
    for (Variable& variable : variables_) allocate(variable);
  }
  void end_block() {
    if (!kKeep) free_all();
  }
  void end_launch() {
    free_all();
    variables_.clear();
  }

  /// The variable of this key, made at the launch's first request.
  void* find(const void* key, std::size_t bytes) {
    for (const Variable& variable : variables_) {
      if (variable.key != key) continue;
      sanitizers::acquire(&made_);
      return variable.data;
    }
    variables_.push_back({key, bytes});
    allocate(variables_.back());
    sanitizers::release(&made_);
    return variables_.back().data;
  }

 private:
#if defined(CUDA_ON_CPU_TSAN)
  static constexpr bool kKeep = true;  // freeing orders nothing, so blocks must not reuse it
#else
  static constexpr bool kKeep = false;
#endif
  static constexpr std::size_t kAlign = 1024;

  struct Variable {
    const void* key;
    std::size_t bytes;
    void* data = nullptr;
  };

  void allocate(Variable& variable) {
    if (posix_memalign(&variable.data, kAlign, std::max<std::size_t>(1, variable.bytes)) != 0) {
      std::abort();
    }
    std::memset(variable.data, kPoison, variable.bytes);
    const std::lock_guard lock(mutex_);  // to the thread sanitizer, fibers are threads
    allocated_.push_back(variable.data);
  }
  void free_all() {
    const std::lock_guard lock(mutex_);
    for (void* data : allocated_) std::free(data);
    allocated_.clear();
  }

  std::vector<Variable> variables_;
  std::mutex mutex_;
  std::vector<void*> allocated_;
  char made_ = 0;  // an address for the thread sanitizer
};

}  // namespace cuda_on_cpu
