// SPDX-License-Identifier: Apache-2.0
//
// One encoder and one decoder, used by several threads at once, while the calls share the pool's.
#include <cstddef>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "codec_files.h"
#include "glc/codec.h"

namespace {

using glc::codec::Decoder;
using glc::codec::Encoder;
using glc::test::Bytes;
using glc::test::check;
using glc::test::check_equal;
using glc::test::golden;

constexpr glc::codec::Size kSize = {130, 200};
constexpr std::size_t kThreads = 4;
constexpr int kRounds = 2;

/// Runs work(thread) on several threads; true from all of them is right.
template <class Work>
void at_once(Work work, const char* what) {
  std::vector<int> right(kThreads);
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (std::size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < kRounds; ++round) right[i] += work(i) ? 1 : 0;
    });
  }
  for (auto& thread : threads) thread.join();
  for (const int n : right) check_equal(n, kRounds, what);
}

Bytes drawn(const Decoder& decoder, const Bytes& file) {
  Bytes pixels(kSize.bytes());
  check(decoder.decode(file, pixels).verified, "verified");
  return pixels;
}

}  // namespace

int main() {
  const Bytes model = golden("model.safetensors");
  const Decoder decoder(model);
  const Encoder encoder(model);
  std::vector<Bytes> files;
  std::vector<Bytes> pictures;
  for (std::size_t i = 0; i < kThreads; ++i) {
    files.push_back(golden(std::to_string(i) + ".glc"));
    pictures.push_back(drawn(decoder, files.back()));
  }
  at_once([&](std::size_t i) { return drawn(decoder, files[i]) == pictures[i]; }, "drawn at once");
  const Bytes picture = golden("picture.rgb");
  at_once(
      [&](std::size_t i) {
        const double quality = i % 2 == 0 ? 0.0 : 1.5;  // of the first two files
        return encoder.encode(picture, kSize, {.quality = quality}) == files[i % 2];
      },
      "encoded at once");
  return 0;
}
