// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include <pybind11/pybind11.h>

#include "glc/bitstream.h"
#include "python/bindings.h"
#include "python/buffer.h"

namespace py = pybind11;

namespace glc::python {
namespace {

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

/// Chunks as Python gives them, ascending by tag: [(tag, bytes)].
struct Chunks {
  explicit Chunks(const py::list& list) {
    for (const py::handle& item : list) {
      const auto pair = item.cast<py::tuple>();
      buffers.emplace_back(pair[1].cast<py::buffer>(), "pack", "chunks");
      views.push_back({pair[0].cast<std::uint8_t>(), buffers.back().span()});
    }
  }
  std::deque<Bytes> buffers;
  std::vector<bitstream::Chunk> views;
};

/// width, height, level, coder, version, profile, tile; the model id travels on its own.
using Fields = std::tuple<std::uint32_t,
                          std::uint32_t,
                          std::uint8_t,
                          std::uint8_t,
                          std::uint8_t,
                          std::uint8_t,
                          std::uint32_t>;

py::bytes pack(const Fields& fields,
               const py::buffer& model_id,
               const py::buffer& payload,
               const py::list& chunks,
               const py::buffer& fingerprint) {
  const Bytes id(model_id, "pack", "model_id");
  const Bytes body(payload, "pack", "payload");
  const Bytes print(fingerprint, "pack", "fingerprint");
  const Chunks extra(chunks);
  if (id.span().size() != bitstream::kModelIdBytes) {
    throw InvalidArgument("pack: model_id: expected 2 bytes, got " +
                          std::to_string(id.span().size()));
  }
  const auto [width, height, level, coder, version, profile, tile] = fields;
  const std::array model{id.span()[0], id.span()[1]};
  const bitstream::Header header{width, height, level, coder, model, version, profile, tile};
  const auto key = as_fingerprint(print);
  std::string out(bitstream::file_bytes(header, body.span().size(), extra.views), '\0');
  const std::span bytes(reinterpret_cast<std::uint8_t*>(out.data()), out.size());
  {
    const py::gil_scoped_release release;
    bitstream::write(header, body.span(), extra.views, key, bytes);
  }
  return py::bytes(out);
}

py::tuple parse(const py::buffer& data, std::uint64_t max_pixels, bool cut) {
  const Bytes bytes(data, "parse", "data");
  const bitstream::Parsed parsed = bitstream::parse(bytes.span(), max_pixels, cut);
  const auto& [width, height, level, coder, id, version, profile, tile] = parsed.header;
  return py::make_tuple(Fields(width, height, level, coder, version, profile, tile),
                        py::bytes(std::string(id.begin(), id.end())),
                        parsed.payload_offset,
                        parsed.payload_bytes);
}

py::list chunks(const py::buffer& data) {
  const Bytes bytes(data, "chunks", "data");
  py::list out;
  for (const auto& [tag, content] : bitstream::chunks(bytes.span())) {
    out.append(py::make_tuple(tag, py::bytes(std::string(content.begin(), content.end()))));
  }
  return out;
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
  out["tiles"] = account.tile_bits;
  out["thresholds"] = account.threshold_bits;
  out["escapes"] = account.escape_bits;
  out["states"] = account.state_bits;
  out["words"] = account.word_bits;
  out["segments"] = account.segment_bits;
  out["chunks"] = account.chunk_bits;
  return out;
}

}  // namespace

void bind_bitstream(py::module_& m) {
  m.def("crc32c", &crc32c, py::arg("data"));
  m.def("pack_container",
        &pack,
        py::arg("fields"),
        py::arg("model_id"),
        py::arg("payload"),
        py::arg("chunks"),
        py::arg("fingerprint"));
  m.def("parse_container", &parse, py::arg("data"), py::arg("max_pixels"), py::arg("cut"));
  m.def("container_chunks", &chunks, py::arg("data"));
  m.def("check_container", &check, py::arg("data"), py::arg("fingerprint"));
  m.def("container_accounting", &accounting, py::arg("data"));
}

}  // namespace glc::python
