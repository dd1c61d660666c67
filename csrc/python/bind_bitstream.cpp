// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <span>
#include <string>

#include <pybind11/pybind11.h>

#include "glc/bitstream.h"
#include "python/bindings.h"
#include "python/buffer.h"

namespace py = pybind11;

namespace glc::python {
namespace {

using Bytes = Buffer<const std::uint8_t>;

bitstream::Fingerprint as_fingerprint(const Bytes& bytes) {
  const auto span = bytes.span();
  if (span.size() != bitstream::kFingerprintBytes) {
    throw InvalidArgument("bitstream: fingerprint: expected 32 bytes, got " +
                          std::to_string(span.size()));
  }
  return span.first<bitstream::kFingerprintBytes>();
}

std::uint32_t crc32c(const py::buffer& data) {
  const Bytes bytes(data, "crc32c", "data");
  const py::gil_scoped_release release;
  return bitstream::crc32c(bytes.span());
}

py::bytes pack(std::uint32_t width,
               std::uint32_t height,
               std::uint8_t level,
               std::uint8_t coder,
               std::uint8_t version,
               std::uint8_t profile,
               const py::buffer& model_id,
               const py::buffer& payload,
               const py::buffer& fingerprint) {
  const Bytes id(model_id, "pack", "model_id");
  const Bytes body(payload, "pack", "payload");
  const Bytes print(fingerprint, "pack", "fingerprint");
  if (id.span().size() != bitstream::kModelIdBytes) {
    throw InvalidArgument("pack: model_id: expected 2 bytes, got " +
                          std::to_string(id.span().size()));
  }
  const bitstream::Header header{.width = width,
                                 .height = height,
                                 .level = level,
                                 .coder = coder,
                                 .model_id = {id.span()[0], id.span()[1]},
                                 .version = version,
                                 .profile = profile};
  const auto key = as_fingerprint(print);
  std::string out(bitstream::header_bytes(header) + body.span().size(), '\0');
  {
    const py::gil_scoped_release release;
    bitstream::write(
        header, body.span(), key, {reinterpret_cast<std::uint8_t*>(out.data()), out.size()});
  }
  return py::bytes(out);
}

py::tuple parse(const py::buffer& data, std::uint64_t max_pixels) {
  const Bytes bytes(data, "parse", "data");
  const auto [header, crc, crc_offset, payload_offset] = bitstream::parse(bytes.span(), max_pixels);
  const std::string model_id(header.model_id.begin(), header.model_id.end());
  return py::make_tuple(header.width,
                        header.height,
                        header.level,
                        header.coder,
                        header.version,
                        header.profile,
                        py::bytes(model_id),
                        payload_offset);
}

void check(const py::buffer& data, const py::buffer& fingerprint) {
  const Bytes bytes(data, "check", "data");
  const Bytes print(fingerprint, "check", "fingerprint");
  const auto key = as_fingerprint(print);
  const py::gil_scoped_release release;
  bitstream::check(bytes.span(), key);
}

py::dict accounting(const py::buffer& data) {
  const Bytes bytes(data, "accounting", "data");
  const bitstream::Accounting account = bitstream::accounting(bytes.span());
  py::dict out;
  out["magic"] = account.magic_bits;
  out["version"] = account.version_bits;
  out["model_id"] = account.model_id_bits;
  out["level"] = account.level_bits;
  out["flags"] = account.flags_bits;
  out["size"] = account.size_bits;
  out["crc"] = account.crc_bits;
  out["thresholds"] = account.threshold_bits;
  out["escapes"] = account.escape_bits;
  out["states"] = account.state_bits;
  out["words"] = account.word_bits;
  return out;
}

}  // namespace

void bind_bitstream(py::module_& m) {
  m.def("crc32c", &crc32c, py::arg("data"));
  m.def("pack_container",
        &pack,
        py::arg("width"),
        py::arg("height"),
        py::arg("level"),
        py::arg("coder"),
        py::arg("version"),
        py::arg("profile"),
        py::arg("model_id"),
        py::arg("payload"),
        py::arg("fingerprint"));
  m.def("parse_container", &parse, py::arg("data"), py::arg("max_pixels"));
  m.def("check_container", &check, py::arg("data"), py::arg("fingerprint"));
  m.def("container_accounting", &accounting, py::arg("data"));
}

}  // namespace glc::python
