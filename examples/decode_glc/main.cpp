// SPDX-License-Identifier: Apache-2.0
// Decodes a .glc file to a picture (PPM), without Python: C++20 and glc::core.
//
//   glc export glc-image-small model.safetensors
//   decode_glc model.safetensors photo.glc photo.ppm
#include <cstddef>
#include <cstdint>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include <glc/codec.h>
#include <glc/error.h>

namespace {

std::vector<std::uint8_t> read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw glc::InvalidArgument(path + ": expected a file that can be read");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: decode_glc MODEL IN.glc OUT.ppm\n";
    return 2;
  }
  try {
    const glc::codec::Decoder decoder(read(argv[1]));
    const std::vector<std::uint8_t> data = read(argv[2]);
    const glc::codec::Size size = glc::codec::Decoder::size(data);
    std::vector<std::uint8_t> pixels(size.bytes());
    decoder.decode(data, pixels);
    std::ofstream out(argv[3], std::ios::binary);
    out << "P6\n" << size.width << ' ' << size.height << "\n255\n";
    out.write(reinterpret_cast<const char*>(pixels.data()),
              static_cast<std::streamsize>(pixels.size()));
    if (!out.flush()) throw glc::InvalidArgument(std::string(argv[3]) + ": could not be written");
  } catch (const std::exception& error) {
    std::cerr << "decode_glc: " << error.what() << '\n';
    return 2;
  }
  return 0;
}
