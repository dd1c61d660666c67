// SPDX-License-Identifier: Apache-2.0
//
// Hostile files and hostile models, down to the picture. The first byte says what the others are:
// a `.glc` file, edits of a golden one, a model file, the header of a model, or edits of the golden
// model. Checksums are put right, so that damage gets past them. The outcome is a picture,
// BitstreamError or Unsupported.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "codec_files.h"
#include "core/little_endian.h"
#include "glc/codec.h"
#include "glc/error.h"
#include "input.h"

namespace {

using glc::codec::Decoder;
using glc::fuzz::Input;
using glc::test::Bytes;
using glc::test::golden;
using glc::test::ModelParts;

constexpr std::uint64_t kMaxPixels = 26000;  // of the golden pictures
constexpr std::uint8_t kSide = 70;           // two hyper indices

void expect(bool condition) {
  if (!condition) __builtin_trap();
}

const Bytes& golden_model() {
  static const Bytes file = golden("model.safetensors");
  return file;
}

const ModelParts& golden_parts() {
  static const ModelParts parts = ModelParts::of(golden_model());
  return parts;
}

/// A golden file's header and first symbols, of a picture that takes less time.
const Bytes& small_file() {
  static const Bytes file = glc::test::resized(golden("0.glc"), kSide, kSide);
  return file;
}

template <class F>
void refusing(F body) {
  try {
    body();
  } catch (const glc::BitstreamError&) {
  } catch (const glc::Unsupported&) {
  }
}

void draw(const Decoder& decoder, const Bytes& file, const glc::codec::DecodeOptions& options) {
  refusing([&] {
    std::vector<std::uint8_t> pixels(Decoder::size(file, options).bytes());
    const auto restored = decoder.decode(file, pixels, options);
    expect(restored.verified || options.partial);
    expect(restored.n_parts <= options.until);
    expect(restored.n_parts == options.until || !restored.verified);
  });
}

void read_file(Input& input, bool given) {
  static const Decoder decoder(golden_model());
  const std::size_t how = input.below(20);
  const glc::codec::DecodeOptions options = {
      .max_pixels = kMaxPixels, .until = static_cast<int>(how % 5), .partial = how / 5 % 2 == 1};
  Bytes file = small_file();
  if (given) {
    const auto rest = input.rest();
    file.assign(rest.begin(), rest.end());
  } else {
    glc::fuzz::damage(input, file);
  }
  if (how / 10 == 0) refusing([&] { glc::test::put_checksum(file, decoder.fingerprint()); });
  draw(decoder, file, options);
}

void read_model(const Bytes& model) {
  refusing([&] {
    const Decoder decoder(model);
    Bytes file = small_file();
    std::ranges::copy(decoder.fingerprint().first<2>(), file.begin() + 4);
    draw(decoder, file, {.max_pixels = kMaxPixels, .partial = true});
  });
}

void edit_model(Input& input) {
  ModelParts parts = golden_parts();
  Bytes header(parts.header.begin(), parts.header.end());
  glc::fuzz::damage(input, header);
  parts.header.assign(header.begin(), header.end());
  for (std::size_t n = input.below(8); n > 0; --n) {
    const std::size_t at = input.u32() % (parts.data.size() - 3);
    glc::store_u32(parts.data.data() + at, input.u32());
  }
  if (input.below(8) == 0) parts.data.resize(input.u32() % parts.data.size());
  read_model(parts.join());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  Input input({bytes, size});
  switch (input.below(5)) {
    case 0:
      read_file(input, true);
      break;
    case 1:
      read_file(input, false);
      break;
    case 2: {
      const auto rest = input.rest();
      read_model({rest.begin(), rest.end()});
      break;
    }
    case 3: {
      const auto rest = input.rest();
      read_model(ModelParts{{rest.begin(), rest.end()}, golden_parts().data}.join());
      break;
    }
    default:
      edit_model(input);
  }
  return 0;
}
