// SPDX-License-Identifier: Apache-2.0
//
// Runs a fuzz target without libFuzzer, under any compiler and sanitizer:
//   replay_<target> FILE...        once per file, e.g. a crash that a fuzzer saved
//   replay_<target> [-n RUNS]      on seeded random inputs, and on damaged copies of earlier ones
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kMaxSize = 600;
constexpr std::size_t kKept = 64;

// Mostly small values, as lengths, descriptors and states need them, else evenly spread.
Bytes fresh(std::mt19937& random) {
  Bytes bytes(random() % kMaxSize);
  const bool small = random() % 2 == 0;
  for (auto& byte : bytes) {
    byte = static_cast<std::uint8_t>(small && random() % 4 != 0 ? random() % 8 : random());
  }
  return bytes;
}

void damage(Bytes& bytes, std::mt19937& random) {
  for (std::uint32_t n = 1 + static_cast<std::uint32_t>(random()) % 4; n > 0 && !bytes.empty();
       --n) {
    const std::size_t at = random() % bytes.size();
    switch (random() % 4) {
      case 0:
        bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ 1U << random() % 8);
        break;
      case 1:
        bytes[at] = static_cast<std::uint8_t>(random());
        break;
      case 2:
        bytes.resize(at);
        break;
      default:
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes[at]);
    }
  }
}

int replay(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::fprintf(stderr, "%s: not readable\n", path);
    return 1;
  }
  const std::vector<char> chars{std::istreambuf_iterator<char>(file), {}};
  const Bytes bytes(chars.begin(), chars.end());
  return LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
  long n_runs = 20000;
  if (argc == 3 && std::string_view(argv[1]) == "-n") {
    n_runs = std::atol(argv[2]);
  } else if (argc > 1) {
    for (int i = 1; i < argc; ++i) {
      if (replay(argv[i]) != 0) return 1;
    }
    return 0;
  }
  std::mt19937 random(20260000);
  std::vector<Bytes> kept(kKept);
  for (long run = 0; run < n_runs; ++run) {
    Bytes& slot = kept[random() % kKept];
    if (slot.empty() || random() % 8 == 0) {
      slot = fresh(random);
    } else {
      damage(slot, random);
    }
    LLVMFuzzerTestOneInput(slot.data(), slot.size());
  }
  std::printf("%ld inputs\n", n_runs);
  return 0;
}
