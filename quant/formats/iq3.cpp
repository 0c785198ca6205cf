// IQ3_XXS and IQ3_S: lattice points of four magnitudes, two to a byte of signs.
#include "quant/formats/iq3.hpp"

namespace dodeca::quant {
namespace {

// signs: the byte of the eight weights that this point is half of.
void put_group(const std::int8_t* point, unsigned signs, int half, float scale, float* y) {
  for (int j = 0; j < 4; ++j) {
    const float value = scale * static_cast<float>(point[j]);
    y[j] = (signs >> (4 * half + j)) & 1 ? -value : value;
  }
}

}  // namespace

void Format<DType::kIQ3_XXS>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int ib = 0; ib < 8; ++ib) {
    std::uint32_t word;
    std::memcpy(&word, block.scales_signs + 4 * ib, sizeof word);
    const float scale = d * (0.5f + static_cast<float>(word >> 28)) * 0.5f;
    for (int k = 0; k < 8; ++k) {
      const std::uint8_t signs = sign_byte((word >> (7 * (k / 2))) & 127);
      put_group(kIq3xxsGrid[block.qs[8 * ib + k]], signs, k % 2, scale, y + 32 * ib + 4 * k);
    }
  }
}

void Format<DType::kIQ3_S>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int ib = 0; ib < 8; ++ib) {
    const unsigned s = (block.scales[ib / 2] >> (4 * (ib % 2))) & 15;
    const float scale = d * static_cast<float>(1 + 2 * s);
    for (int k = 0; k < 8; ++k) {
      const unsigned index = block.qs[8 * ib + k] | (((block.qh[ib] >> k) & 1u) << 8);
      put_group(kIq3sGrid[index], block.signs[4 * ib + k / 2], k % 2, scale, y + 32 * ib + 4 * k);
    }
  }
}

void Format<DType::kIQ3_XXS>::read(const Block& in, RowBlock& b) {
  for (int k = 0; k < 64; ++k) b.index[k] = in.qs[k];
  for (int ib = 0; ib < 8; ++ib) set_sign_word(four_bytes(in.scales_signs + 4 * ib), ib, b);
  b.d = in.d;
}
void Format<DType::kIQ3_XXS>::write(const RowBlock& b, Block& out) {
  for (int k = 0; k < 64; ++k) out.qs[k] = static_cast<std::uint8_t>(b.index[k]);
  for (int ib = 0; ib < 8; ++ib) {
    const std::uint32_t word = sign_word(b, ib);
    std::memcpy(out.scales_signs + 4 * ib, &word, 4);
  }
  out.d = b.d;
}
void Format<DType::kIQ3_XXS>::put_row(const RowBlock& b, int r, std::byte* body) {
  for (int ib = 0; ib < 8; ++ib) {
    for (int e = 0; e < 2; ++e) put(body, 3 * ib + e, r, low_bytes(b.index + 8 * ib + 4 * e));
    put(body, 3 * ib + 2, r, sign_word(b, ib));
  }
}
void Format<DType::kIQ3_XXS>::get_row(const std::byte* body, int r, RowBlock& b) {
  for (int ib = 0; ib < 8; ++ib) {
    for (int e = 0; e < 2; ++e) set_low_bytes(get(body, 3 * ib + e, r), b.index + 8 * ib + 4 * e);
    set_sign_word(get(body, 3 * ib + 2, r), ib, b);
  }
}

void Format<DType::kIQ3_S>::read(const Block& in, RowBlock& b) {
  for (int k = 0; k < 64; ++k) {
    b.index[k] = in.qs[k];
    or_high(b.index[k], (in.qh[k / 8] >> k % 8) & 1u);
  }
  std::memcpy(b.sign, in.signs, 32);
  read_scales(in.scales, 8, b.scale);
  b.d = in.d;
}
void Format<DType::kIQ3_S>::write(const RowBlock& b, Block& out) {
  for (int k = 0; k < 64; ++k) {
    out.qs[k] = static_cast<std::uint8_t>(b.index[k]);
    out.qh[k / 8] = static_cast<std::uint8_t>(out.qh[k / 8] | (b.index[k] >> 8) << k % 8);
  }
  std::memcpy(out.signs, b.sign, 32);
  write_scales(b.scale, 8, out.scales);
  out.d = b.d;
}
void Format<DType::kIQ3_S>::put_row(const RowBlock& b, int r, std::byte* body) {
  std::uint32_t high[2] = {};
  for (int k = 0; k < 64; ++k) {
    high[k / 4 % 2] |= static_cast<std::uint32_t>(b.index[k] >> 8) << (8 * (k % 4) + k / 8);
  }
  for (int ib = 0; ib < 8; ++ib) {
    for (int e = 0; e < 2; ++e) put(body, 3 * ib + e, r, low_bytes(b.index + 8 * ib + 4 * e));
    put(body, 3 * ib + 2, r, four_bytes(b.sign + 4 * ib));
  }
  for (int e = 0; e < 2; ++e) put(body + kHighBits, e, r, high[e]);
  put(body + kScales, 0, r, fields(b.scale, 8, 0, 4));
}
void Format<DType::kIQ3_S>::get_row(const std::byte* body, int r, RowBlock& b) {
  for (int ib = 0; ib < 8; ++ib) {
    const std::uint32_t signs = get(body, 3 * ib + 2, r);
    for (int e = 0; e < 2; ++e) {
      const std::uint32_t high = get(body + kHighBits, e, r);
      std::uint16_t* index = b.index + 8 * ib + 4 * e;
      set_low_bytes(get(body, 3 * ib + e, r), index);
      for (int k = 0; k < 4; ++k) or_high(index[k], (high >> (8 * k + ib)) & 1u);
    }
    for (int g = 0; g < 4; ++g) b.sign[4 * ib + g] = byte_of(signs, g);
  }
  for (int g = 0; g < 8; ++g) b.scale[g] = field(get(body + kScales, 0, r), g, 4);
}

}  // namespace dodeca::quant
