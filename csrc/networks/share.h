// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>

namespace glc::networks {

/// Told the fraction done, on the thread that called; may be empty. May throw, which ends the work.
using Report = std::function<void(double)>;

/// A share of some work: what is done of the share is told as a fraction of the whole.
class Share {
 public:
  /// Nobody is told.
  Share() = default;
  /// All of the work. The report has to outlive what is made from it.
  Share(const Report& report)  // NOLINT(google-explicit-constructor,hicpp-explicit-conversions)
      : report_(report ? &report : nullptr) {}

  /// From one fraction of this share to another. Of parts that meet, the one ends with the very
  /// number that the other begins with.
  [[nodiscard]] Share part(double begin, double end) const {
    Share out = *this;
    out.begin_ = std::lerp(begin_, end_, begin);
    out.end_ = std::lerp(begin_, end_, end);
    return out;
  }
  /// Part n of so many that are alike.
  [[nodiscard]] Share one_of(std::int64_t n, std::int64_t parts) const {
    const auto all = static_cast<double>(parts);
    return part(static_cast<double>(n) / all, static_cast<double>(n + 1) / all);
  }

  void tell(double fraction) const {
    if (report_ != nullptr) (*report_)(std::lerp(begin_, end_, fraction));
  }

 private:
  const Report* report_ = nullptr;
  double begin_ = 0.0;
  double end_ = 1.0;
};

}  // namespace glc::networks
