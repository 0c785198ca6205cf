// IQ2_XXS, IQ2_XS, IQ2_S: lattice points of eight magnitudes with signs beside them.
#include "quant/formats/iq2.hpp"

namespace dodeca::quant {
namespace {

void put_group(const std::int8_t* point, unsigned signs, float scale, float* y) {
  for (int j = 0; j < 8; ++j) {
    const float value = scale * static_cast<float>(point[j]);
    y[j] = (signs >> j) & 1 ? -value : value;
  }
}

float scale_of(float d, unsigned s) { return d * (0.5f + static_cast<float>(s)) * 0.25f; }

}  // namespace

void Format<DType::kIQ2_XXS>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int ib = 0; ib < 8; ++ib) {
    const std::uint16_t* q = block.qs + 4 * ib;
    const std::uint32_t indices = q[0] | (static_cast<std::uint32_t>(q[1]) << 16);
    const std::uint32_t rest = q[2] | (static_cast<std::uint32_t>(q[3]) << 16);
    const float scale = scale_of(d, rest >> 28);
    for (int g = 0; g < 4; ++g) {
      put_group(kIq2xxsGrid[(indices >> (8 * g)) & 255], sign_byte((rest >> (7 * g)) & 127), scale,
                y + 32 * ib + 8 * g);
    }
  }
}

void Format<DType::kIQ2_XS>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int ib = 0; ib < 8; ++ib) {
    for (int g = 0; g < 4; ++g) {
      const unsigned v = block.qs[4 * ib + g];
      const float scale = scale_of(d, (block.scales[ib] >> (4 * (g / 2))) & 15);
      put_group(kIq2xsGrid[v & 511], sign_byte(v >> 9), scale, y + 32 * ib + 8 * g);
    }
  }
}

void Format<DType::kIQ2_S>::decode(const Block& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int ib = 0; ib < 8; ++ib) {
    for (int g = 0; g < 4; ++g) {
      const int t = 4 * ib + g;
      const unsigned index = block.qs[t] | (((block.qh[ib] >> (2 * g)) & 3u) << 8);
      const float scale = scale_of(d, (block.scales[ib] >> (4 * (g / 2))) & 15);
      put_group(kIq2sGrid[index], block.signs[t], scale, y + 8 * t);
    }
  }
}

void Format<DType::kIQ2_XXS>::read(const Block& in, RowBlock& b) {
  for (int ib = 0; ib < 8; ++ib) {
    const std::uint16_t* q = in.qs + 4 * ib;
    set_low_bytes(q[0] | static_cast<std::uint32_t>(q[1]) << 16, b.index + 4 * ib);
    set_sign_word(q[2] | static_cast<std::uint32_t>(q[3]) << 16, ib, b);
  }
  b.d = in.d;
}
void Format<DType::kIQ2_XXS>::write(const RowBlock& b, Block& out) {
  for (int ib = 0; ib < 8; ++ib) {
    const std::uint32_t points = low_bytes(b.index + 4 * ib), signs = sign_word(b, ib);
    for (int e = 0; e < 2; ++e) {
      out.qs[4 * ib + e] = half_of(points, e);
      out.qs[4 * ib + 2 + e] = half_of(signs, e);
    }
  }
  out.d = b.d;
}
void Format<DType::kIQ2_XXS>::put_row(const RowBlock& b, int r, std::byte* body) {
  for (int ib = 0; ib < 8; ++ib) {
    put(body, 2 * ib, r, low_bytes(b.index + 4 * ib));
    put(body, 2 * ib + 1, r, sign_word(b, ib));
  }
}
void Format<DType::kIQ2_XXS>::get_row(const std::byte* body, int r, RowBlock& b) {
  for (int ib = 0; ib < 8; ++ib) {
    set_low_bytes(get(body, 2 * ib, r), b.index + 4 * ib);
    set_sign_word(get(body, 2 * ib + 1, r), ib, b);
  }
}

void Format<DType::kIQ2_XS>::read(const Block& in, RowBlock& b) {
  for (int t = 0; t < 32; ++t) {
    b.index[t] = in.qs[t] & 511;
    b.sign[t] = static_cast<std::uint8_t>(in.qs[t] >> 9);
  }
  read_scales(in.scales, 16, b.scale);
  b.d = in.d;
}
void Format<DType::kIQ2_XS>::write(const RowBlock& b, Block& out) {
  for (int t = 0; t < 32; ++t) out.qs[t] = static_cast<std::uint16_t>(b.index[t] | b.sign[t] << 9);
  write_scales(b.scale, 16, out.scales);
  out.d = b.d;
}
void Format<DType::kIQ2_XS>::put_row(const RowBlock& b, int r, std::byte* body) {
  for (int ib = 0; ib < 8; ++ib) {
    std::uint32_t high = 0;
    for (int g = 0; g < 4; ++g) {
      const int t = 4 * ib + g;
      high |= static_cast<std::uint32_t>(b.index[t] >> 8 | b.sign[t] << 1) << 8 * g;
    }
    put(body, 2 * ib, r, low_bytes(b.index + 4 * ib));
    put(body, 2 * ib + 1, r, high);
  }
  for (int v = 0; v < 2; ++v) put(body + kScales, v, r, fields(b.scale + 8 * v, 8, 0, 4));
}
void Format<DType::kIQ2_XS>::get_row(const std::byte* body, int r, RowBlock& b) {
  for (int ib = 0; ib < 8; ++ib) {
    const std::uint32_t high = get(body, 2 * ib + 1, r);
    set_low_bytes(get(body, 2 * ib, r), b.index + 4 * ib);
    for (int g = 0; g < 4; ++g) {
      const int t = 4 * ib + g;
      or_high(b.index[t], byte_of(high, g) & 1u);
      b.sign[t] = byte_of(high, g) >> 1;
    }
  }
  for (int g = 0; g < 16; ++g) b.scale[g] = field(get(body + kScales, g / 8, r), g % 8, 4);
}

void Format<DType::kIQ2_S>::read(const Block& in, RowBlock& b) {
  for (int t = 0; t < 32; ++t) {
    b.index[t] = in.qs[t];
    or_high(b.index[t], (in.qh[t / 4] >> 2 * (t % 4)) & 3u);
  }
  std::memcpy(b.sign, in.signs, 32);
  read_scales(in.scales, 16, b.scale);
  b.d = in.d;
}
void Format<DType::kIQ2_S>::write(const RowBlock& b, Block& out) {
  for (int t = 0; t < 32; ++t) {
    out.qs[t] = static_cast<std::uint8_t>(b.index[t]);
    out.qh[t / 4] = static_cast<std::uint8_t>(out.qh[t / 4] | (b.index[t] >> 8) << 2 * (t % 4));
  }
  std::memcpy(out.signs, b.sign, 32);
  write_scales(b.scale, 16, out.scales);
  out.d = b.d;
}
void Format<DType::kIQ2_S>::put_row(const RowBlock& b, int r, std::byte* body) {
  std::uint32_t high[2] = {};
  for (int t = 0; t < 32; ++t) {
    high[t / 16] |= static_cast<std::uint32_t>(b.index[t] >> 8) << (8 * (t % 4) + 2 * (t / 4 % 4));
  }
  for (int ib = 0; ib < 8; ++ib) {
    put(body, 2 * ib, r, low_bytes(b.index + 4 * ib));
    put(body, 2 * ib + 1, r, four_bytes(b.sign + 4 * ib));
  }
  for (int v = 0; v < 2; ++v) {
    put(body + kHighBits, v, r, high[v]);
    put(body + kScales, v, r, fields(b.scale + 8 * v, 8, 0, 4));
  }
}
void Format<DType::kIQ2_S>::get_row(const std::byte* body, int r, RowBlock& b) {
  for (int ib = 0; ib < 8; ++ib) {
    const std::uint32_t signs = get(body, 2 * ib + 1, r), high = get(body + kHighBits, ib / 4, r);
    set_low_bytes(get(body, 2 * ib, r), b.index + 4 * ib);
    for (int g = 0; g < 4; ++g) {
      b.sign[4 * ib + g] = byte_of(signs, g);
      or_high(b.index[4 * ib + g], (high >> (8 * g + 2 * (ib % 4))) & 3u);
    }
  }
  for (int g = 0; g < 16; ++g) b.scale[g] = field(get(body + kScales, g / 8, r), g % 8, 4);
}

}  // namespace dodeca::quant
