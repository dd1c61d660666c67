// SPDX-License-Identifier: Apache-2.0
//
// Decodes a .glc file to a picture (PPM) in C++, without Python.
//
//   glc export model.safetensors
//   decode_glc model.safetensors photo.glc photo.ppm
#include <cmath>
#include <cstdint>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>

#include "glc/codec.h"

namespace {

std::vector<std::uint8_t> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Told how far the picture has come; an exception would cancel it.
void show(double done) {
  std::cerr << '\r' << std::lround(100.0 * done) << " %" << (done < 1.0 ? "" : "\n");
}

void decode(const std::string& model, const std::string& in, const std::string& out) {
  const glc::codec::Decoder decoder(read_file(model));
  const std::vector<std::uint8_t> data = read_file(in);
  const glc::codec::Size size = glc::codec::Decoder::size(data);
  std::vector<std::uint8_t> pixels(size.bytes());
  glc::codec::DecodeOptions options;
  if (isatty(STDERR_FILENO) != 0) options.progress = show;
  decoder.decode(data, pixels, options);

  std::ofstream picture(out, std::ios::binary);
  picture << "P6\n" << size.width << ' ' << size.height << "\n255\n";
  picture.write(reinterpret_cast<const char*>(pixels.data()),
                static_cast<std::streamsize>(pixels.size()));
  if (!picture.flush()) throw std::runtime_error(out + ": cannot be written");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: decode_glc MODEL IN.glc OUT.ppm\n";
    return 2;
  }
  try {
    decode(argv[1], argv[2], argv[3]);
  } catch (const std::exception& error) {
    std::cerr << "decode_glc: " << error.what() << '\n';
    return 2;
  }
  return 0;
}
