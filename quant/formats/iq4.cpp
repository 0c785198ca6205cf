// Four-bit tables: IQ4_NL, IQ4_XS (values denser around zero) and MXFP4 (E2M1 floats under a power-of-two scale).
#include "quant/formats/iq4.hpp"

namespace dodeca::quant {
namespace {

int nibble(const std::uint8_t* qs, int i) { return (qs[i % 16] >> (4 * (i / 16))) & 15; }

}  // namespace

void Format<DType::kIQ4_NL>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < kSmallBlock; ++i) y[i] = d * static_cast<float>(kIq4Values[nibble(block.qs, i)]);
}

void Format<DType::kIQ4_XS>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int ib = 0; ib < 8; ++ib) {
    const int low = (block.scales_l[ib / 2] >> (4 * (ib % 2))) & 15;
    const int high = (block.scales_h >> (2 * ib)) & 3;
    const float scale = d * static_cast<float>((low | (high << 4)) - 32);
    for (int i = 0; i < 32; ++i) y[32 * ib + i] = scale * static_cast<float>(kIq4Values[nibble(block.qs + 16 * ib, i)]);
  }
}

void Format<DType::kMXFP4>::decode(const Block& block, float* y) {
  const float d = e8m0_half_to_f32(block.e);
  for (int i = 0; i < kSmallBlock; ++i) y[i] = d * static_cast<float>(kDoubledE2M1[nibble(block.qs, i)]);
}

void Format<DType::kIQ4_NL>::read(const Block& in, RowBlock& out) {
  read_nibbles(in.qs, 16, out.code);
  out.d = in.d;
  out.m = 0;
}
void Format<DType::kIQ4_NL>::write(const RowBlock& in, Block& out) {
  write_nibbles(in.code, 16, out.qs);
  out.d = in.d;
}

void Format<DType::kIQ4_XS>::read(const Block& in, RowBlock& out) {
  for (int k = 0; k < 8; ++k) {
    read_nibbles(in.qs + 16 * k, 16, out.code + 32 * k);
    out.scale[k] =
        static_cast<std::uint8_t>(((in.scales_l[k / 2] >> 4 * (k % 2)) & 15) | ((in.scales_h >> 2 * k) & 3) << 4);
  }
  out.d = in.d;
  out.m = in.scales_h;
}
void Format<DType::kIQ4_XS>::write(const RowBlock& in, Block& out) {
  for (int k = 0; k < 8; ++k) {
    write_nibbles(in.code + 32 * k, 16, out.qs + 16 * k);
    out.scales_l[k / 2] = static_cast<std::uint8_t>(out.scales_l[k / 2] | (in.scale[k] & 15) << 4 * (k % 2));
    out.scales_h = static_cast<std::uint16_t>(out.scales_h | (in.scale[k] >> 4) << 2 * k);
  }
  out.d = in.d;
}
void Format<DType::kIQ4_XS>::put_row(const RowBlock& b, int r, std::byte* body) {
  for (int k = 0; k < 8; ++k) codes4_to_tile(b, r, k, body + codes(k));
  put(body + kScales, 0, r, fields(b.scale, 8, 0, 4));
}
void Format<DType::kIQ4_XS>::get_row(const std::byte* body, int r, RowBlock& b) {
  for (int k = 0; k < 8; ++k) codes4_from_tile(body + codes(k), r, k, b);
  const std::uint32_t low = get(body + kScales, 0, r);
  for (int g = 0; g < 8; ++g) b.scale[g] = static_cast<std::uint8_t>(field(low, g, 4) | ((b.m >> 2 * g) & 3) << 4);
}

void Format<DType::kMXFP4>::read(const Block& in, RowBlock& out) {
  read_nibbles(in.qs, 16, out.code);
  out.d = in.e;
  out.m = 0;
}
void Format<DType::kMXFP4>::write(const RowBlock& in, Block& out) {
  write_nibbles(in.code, 16, out.qs);
  out.e = static_cast<std::uint8_t>(in.d);
}

}  // namespace dodeca::quant
