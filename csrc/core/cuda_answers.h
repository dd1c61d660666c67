// SPDX-License-Identifier: Apache-2.0
//
// Answers of the CUDA runtime that stay the same, asked for once: a question about a kernel takes
// longer than its launch.
#pragma once

#include <map>
#include <mutex>
#include <tuple>

namespace glc::cuda {

template <class Answer, class... Question>
class Answers {
 public:
  /// The answer to a question: that of ask() the first time. What ask() throws is asked again.
  template <class Ask>
  Answer to(const Question&... question, Ask ask) {
    const std::lock_guard lock(mutex_);
    const std::tuple key(question...);
    if (const auto known = known_.find(key); known != known_.end()) return known->second;
    return known_.emplace(key, ask()).first->second;
  }

 private:
  std::mutex mutex_;
  std::map<std::tuple<Question...>, Answer> known_;
};

}  // namespace glc::cuda
