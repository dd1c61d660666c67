// SPDX-License-Identifier: Apache-2.0
//
// What a caller is told while a picture is coded, and that it can end the call each time: the
// results stay the same to the last bit.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "codec/model_file.h"
#include "codec_files.h"
#include "glc/codec.h"
#include "glc/error.h"
#include "glc/threads.h"
#include "networks/analysis_networks.h"
#include "networks/layers.h"
#include "networks/map.h"
#include "networks/synthesis_networks.h"
#include "networks/tensors.h"

namespace {

using glc::codec::DecodeOptions;
using glc::codec::Decoder;
using glc::codec::EncodeOptions;
using glc::codec::Encoder;
using glc::codec::Progress;
using glc::test::Bytes;
using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;
using glc::test::golden;

/// Of no class that the codec knows.
struct Stop : std::exception {};

/// A call, and what it makes.
struct Call {
  std::string name;
  std::size_t least;  // times that it tells how far it has come
  std::function<Bytes(const Progress&)> run;
};

/// The golden model, to which every picture is unlike photographs: y is held ever more tightly, and
/// the symbols are looked for each time.
Bytes model_of_narrow_range() {
  auto model = glc::test::Model::of(golden("model.safetensors"));
  std::ranges::fill(model.tensors["latent_range.y"].bytes, std::uint8_t{0});
  return model.join();
}

struct Codecs {
  Decoder decoder{golden("model.safetensors")};
  Encoder encoder{golden("model.safetensors")};
  Encoder holding{model_of_narrow_range()};
};

std::vector<Call> calls(const Codecs& codecs) {
  std::vector<Call> out;
  const auto decode =
      [&](const std::string& name, const DecodeOptions& options, std::size_t least) {
        const Bytes file = golden(name);
        out.push_back({"decode " + name, least, [=, &codecs](const Progress& progress) {
                         Bytes pixels(Decoder::size(file).bytes());
                         DecodeOptions with = options;
                         with.progress = progress;
                         codecs.decoder.decode(file, pixels, with);
                         return pixels;
                       }});
      };
  const auto encode = [&](const char* name,
                          const Encoder& encoder,
                          const EncodeOptions& options,
                          std::size_t least) {
    const Bytes picture = golden("picture.rgb");
    out.push_back({name, least, [=, &encoder](const Progress& progress) {
                     EncodeOptions with = options;
                     with.progress = progress;
                     return encoder.encode(picture, {130, 200}, with);
                   }});
  };
  // of a piece: the entropy path's networks, and the layers that draw it, or those of E and g_a
  constexpr std::size_t kDecode = 12;
  constexpr std::size_t kWalk = 4;
  constexpr std::size_t kEncode = 8;
  constexpr std::size_t kTiles = 12;
  decode("0.glc", {}, kDecode);
  decode("2.glc", {.until = 0}, kDecode);
  decode("3.glc", {}, kTiles * kDecode);
  encode("encode", codecs.encoder, {.quality = 1.5}, kEncode);
  encode("encode tiles", codecs.encoder, {.tile = 64}, kTiles * kEncode);
  encode("encode within bytes",
         codecs.encoder,
         {.target_bytes = golden("1.glc").size()},
         kEncode + 5 * kWalk);
  encode("encode what is held", codecs.holding, {.quality = 3.0}, kEncode + 5 * kWalk);
  return out;
}

void tells(const Call& call) {
  const Bytes expected = call.run(nullptr);
  std::vector<double> told;
  bool here = true;
  const auto caller = std::this_thread::get_id();
  const Bytes found = call.run([&](double done) {
    told.push_back(done);
    here = here && std::this_thread::get_id() == caller;
  });
  const char* const name = call.name.c_str();
  check(found == expected, name);
  check(here, name);
  check(told.size() >= call.least, name);
  check_equal(told.front(), 0.0, name);
  check_equal(told.back(), 1.0, name);
  check(std::ranges::is_sorted(told), name);
  check_equal(std::ranges::count(told, 1.0), std::ptrdiff_t{1}, name);
  double longest = 0.0;
  for (std::size_t i = 1; i < told.size(); ++i) {
    longest = std::max(longest, told[i] - told[i - 1]);
  }
  constexpr double kLongest = 0.6;
  check(longest < kLongest, name);

  for (const std::size_t last : {std::size_t{0}, told.size() / 2, told.size() - 1}) {
    std::size_t heard = 0;
    const auto stopping = [&](double) {
      if (heard++ == last) throw Stop();
    };
    check_throws<Stop>([&] { call.run(stopping); }, name);
    check_equal(heard, last + 1, "told on after the exception");
  }
  // errors of the codec's own classes are the caller's there, whatever the codec does with its own
  check_throws<glc::BitstreamError>(
      [&] { call.run([](double) { throw glc::BitstreamError("of the caller"); }); }, name);
  check(call.run(nullptr) == expected, "after calls that were ended");
}

/// From where it is told, a caller may code.
void codes_meanwhile(const Call& outer, const Call& inner) {
  const Bytes expected = inner.run(nullptr);
  const Bytes found = outer.run([&](double done) {
    if (done > 0.0 && done < 1.0) check(inner.run(nullptr) == expected, "coded meanwhile");
  });
  check(found == outer.run(nullptr), "coded with another meanwhile");
}

/// Pictures of several strips.
void tells_of_strips() {
  using glc::networks::Map;
  const Bytes file = golden("model.safetensors");
  const auto model = glc::codec::ModelFile::read(file);
  glc::networks::Reader reader(model.tensors);
  const glc::networks::SynthesisNetworks synthesis(model.layout, reader, 1);
  const glc::networks::AnalysisNetworks analysis(model.layout, reader, 1);
  glc::networks::Scratch scratch;
  constexpr std::int64_t kStrips = 3;
  const std::int64_t height = kStrips * model.layout.pad_multiple;
  Bytes pixels(static_cast<std::size_t>(3 * height), 128);

  const auto check_told = [](const std::vector<double>& told) {
    check(told.size() > 5 * kStrips && std::ranges::is_sorted(told), "strips");
    for (std::int64_t i = 1; i <= kStrips; ++i) {
      const double end = static_cast<double>(i) / static_cast<double>(kStrips);
      check(std::ranges::count(told, end) == 1, "the end of a strip");
    }
    check_equal(told.back(), 1.0, "the end of all strips");
  };
  std::vector<double> told;
  const glc::networks::Report record = [&](double done) { told.push_back(done); };
  const Map features =
      analysis.features({.data = pixels.data(), .height = height, .width = 1}, scratch, record);
  check_told(told);
  told.clear();
  const Map y_hat = analysis.analysis(features.view(), 1.0, scratch);
  synthesis.draw(
      y_hat.view(), 1.0, {.data = pixels.data(), .height = height, .width = 1}, scratch, record);
  check_told(told);
}

}  // namespace

int main() {
  const Codecs codecs;
  glc::set_threads(3);
  const std::vector<Call> all = calls(codecs);
  for (const Call& call : all) tells(call);
  codes_meanwhile(all[0], all[1]);
  codes_meanwhile(all[3], all[0]);
  tells_of_strips();
  return 0;
}
