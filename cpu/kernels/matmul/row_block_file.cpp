// Between the file's blocks and RowBlock. Bit positions: the format tables of quant/formats.
#include <cstring>

#include "cpu/kernels/matmul/row_block_parts.hpp"
#include "quant/blocks.hpp"

namespace dodeca::cpu {
namespace {

using quant::DType;

template <class Block>
Block load(const std::byte* file) {
  Block block;
  std::memcpy(&block, file, sizeof block);
  return block;
}

template <class Block>
void store(const Block& block, std::byte* file) {
  std::memcpy(file, &block, sizeof block);
}

// Columns 128n + 32j + l are bits 2j of qs[32n + l].
void read_2bit(const std::uint8_t* qs, std::uint8_t* code) {
  for (int n = 0; n < 2; ++n) {
    for (int j = 0; j < 4; ++j) {
      for (int l = 0; l < 32; ++l) code[128 * n + 32 * j + l] = (qs[32 * n + l] >> 2 * j) & 3;
    }
  }
}
void write_2bit(const std::uint8_t* code, std::uint8_t* qs) {
  for (int n = 0; n < 2; ++n) {
    for (int l = 0; l < 32; ++l) {
      const std::uint8_t* c = code + 128 * n + l;
      qs[32 * n + l] = static_cast<std::uint8_t>((c[0] & 3) | (c[32] & 3) << 2 | (c[64] & 3) << 4 | (c[96] & 3) << 6);
    }
  }
}

// Two runs of `half` columns are the low, then the high nibbles of `half` bytes.
void read_nibbles(const std::uint8_t* qs, int half, std::uint8_t* code) {
  for (int l = 0; l < half; ++l) code[l] = qs[l] & 15;
  for (int l = 0; l < half; ++l) code[half + l] = qs[l] >> 4;
}
void write_nibbles(const std::uint8_t* code, int half, std::uint8_t* qs) {
  for (int l = 0; l < half; ++l) qs[l] = static_cast<std::uint8_t>((code[l] & 15) | (code[half + l] & 15) << 4);
}

// Eight 6-bit scales and minima in 12 bytes.
void read_scales6(const std::uint8_t* s, RowBlock& block) {
  for (int j = 0; j < 4; ++j) {
    block.scale[j] = s[j] & 63;
    block.min[j] = s[j + 4] & 63;
    block.scale[j + 4] = static_cast<std::uint8_t>((s[j + 8] & 15) | (s[j] >> 6) << 4);
    block.min[j + 4] = static_cast<std::uint8_t>((s[j + 8] >> 4) | (s[j + 4] >> 6) << 4);
  }
}
void write_scales6(const RowBlock& block, std::uint8_t* s) {
  for (int j = 0; j < 4; ++j) {
    s[j] = static_cast<std::uint8_t>(block.scale[j] | (block.scale[j + 4] >> 4) << 6);
    s[j + 4] = static_cast<std::uint8_t>(block.min[j] | (block.min[j + 4] >> 4) << 6);
    s[j + 8] = static_cast<std::uint8_t>((block.scale[j + 4] & 15) | (block.min[j + 4] & 15) << 4);
  }
}

// The fifth bit of column i is bit i of a little-endian word. Eight bits at a time: multiplying spreads a byte over
// eight so that bit j of byte j can be kept, and gathers them again.
void read_fifth(const std::uint8_t* qh, std::uint8_t* code) {
  for (int i = 0; i < 4; ++i) {
    std::uint64_t eight;
    std::memcpy(&eight, code + 8 * i, 8);
    const std::uint64_t picked = (qh[i] * 0x0101010101010101ull) & 0x8040201008040201ull;
    eight |= (((picked + 0x7f7f7f7f7f7f7f7full) >> 7) & 0x0101010101010101ull) << 4;
    std::memcpy(code + 8 * i, &eight, 8);
  }
}
void write_fifth(const std::uint8_t* code, std::uint8_t* qh) {
  for (int i = 0; i < 4; ++i) {
    std::uint64_t eight;
    std::memcpy(&eight, code + 8 * i, 8);
    qh[i] = static_cast<std::uint8_t>(((eight >> 4 & 0x0101010101010101ull) * 0x0102040810204080ull) >> 56);
  }
}

}  // namespace

template <>
void from_file<DType::kQ2_K>(const std::byte* file, RowBlock& out) {
  const auto in = load<quant::BlockQ2_K>(file);
  read_2bit(in.qs, out.code);
  for (int g = 0; g < 16; ++g) {
    out.scale[g] = in.scales[g] & 15;
    out.min[g] = in.scales[g] >> 4;
  }
  out.d = in.d;
  out.m = in.dmin;
}
template <>
void to_file<DType::kQ2_K>(const RowBlock& in, std::byte* file) {
  quant::BlockQ2_K out;
  write_2bit(in.code, out.qs);
  for (int g = 0; g < 16; ++g) out.scales[g] = static_cast<std::uint8_t>(in.scale[g] | in.min[g] << 4);
  out.d = in.d;
  out.dmin = in.m;
  store(out, file);
}

template <>
void from_file<DType::kQ3_K>(const std::byte* file, RowBlock& out) {
  const auto in = load<quant::BlockQ3_K>(file);
  read_2bit(in.qs, out.code);
  for (int j = 0; j < 8; ++j) {
    std::uint8_t* code = out.code + 32 * j;
    for (int l = 0; l < 32; ++l) code[l] = static_cast<std::uint8_t>(code[l] | ((in.hmask[l] >> j) & 1) << 2);
  }
  for (int g = 0; g < 16; ++g) {
    const int low = g < 8 ? in.scales[g] & 15 : in.scales[g - 8] >> 4;
    out.scale[g] = static_cast<std::uint8_t>(low | ((in.scales[8 + g % 4] >> 2 * (g / 4)) & 3) << 4);
  }
  out.d = in.d;
  out.m = 0;
}
template <>
void to_file<DType::kQ3_K>(const RowBlock& in, std::byte* file) {
  quant::BlockQ3_K out{};
  write_2bit(in.code, out.qs);
  for (int j = 0; j < 8; ++j) {
    for (int l = 0; l < 32; ++l) {
      out.hmask[l] = static_cast<std::uint8_t>(out.hmask[l] | (in.code[32 * j + l] >> 2) << j);
    }
  }
  for (int g = 0; g < 16; ++g) {
    std::uint8_t &low = out.scales[g % 8], &high = out.scales[8 + g % 4];
    low = static_cast<std::uint8_t>(low | (in.scale[g] & 15) << (g < 8 ? 0 : 4));
    high = static_cast<std::uint8_t>(high | (in.scale[g] >> 4) << 2 * (g / 4));
  }
  out.d = in.d;
  store(out, file);
}

template <>
void from_file<DType::kQ4_K>(const std::byte* file, RowBlock& out) {
  const auto in = load<quant::BlockQ4_K>(file);
  for (int j = 0; j < 4; ++j) read_nibbles(in.qs + 32 * j, 32, out.code + 64 * j);
  read_scales6(in.scales, out);
  out.d = in.d;
  out.m = in.dmin;
}
template <>
void to_file<DType::kQ4_K>(const RowBlock& in, std::byte* file) {
  quant::BlockQ4_K out;
  for (int j = 0; j < 4; ++j) write_nibbles(in.code + 64 * j, 32, out.qs + 32 * j);
  write_scales6(in, out.scales);
  out.d = in.d;
  out.dmin = in.m;
  store(out, file);
}

template <>
void from_file<DType::kQ5_K>(const std::byte* file, RowBlock& out) {
  const auto in = load<quant::BlockQ5_K>(file);
  for (int j = 0; j < 4; ++j) read_nibbles(in.qs + 32 * j, 32, out.code + 64 * j);
  for (int j = 0; j < 8; ++j) {
    std::uint8_t* code = out.code + 32 * j;
    for (int l = 0; l < 32; ++l) code[l] = static_cast<std::uint8_t>(code[l] | ((in.qh[l] >> j) & 1) << 4);
  }
  read_scales6(in.scales, out);
  out.d = in.d;
  out.m = in.dmin;
}
template <>
void to_file<DType::kQ5_K>(const RowBlock& in, std::byte* file) {
  quant::BlockQ5_K out{};
  for (int j = 0; j < 4; ++j) write_nibbles(in.code + 64 * j, 32, out.qs + 32 * j);
  for (int j = 0; j < 8; ++j) {
    for (int l = 0; l < 32; ++l) out.qh[l] = static_cast<std::uint8_t>(out.qh[l] | (in.code[32 * j + l] >> 4) << j);
  }
  write_scales6(in, out.scales);
  out.d = in.d;
  out.dmin = in.m;
  store(out, file);
}

template <>
void from_file<DType::kQ6_K>(const std::byte* file, RowBlock& out) {
  const auto in = load<quant::BlockQ6_K>(file);
  for (int n = 0; n < 2; ++n) {
    std::uint8_t* code = out.code + 128 * n;
    read_nibbles(in.ql + 64 * n, 64, code);
    for (int j = 0; j < 4; ++j) {
      for (int l = 0; l < 32; ++l) {
        code[32 * j + l] = static_cast<std::uint8_t>(code[32 * j + l] | ((in.qh[32 * n + l] >> 2 * j) & 3) << 4);
      }
    }
  }
  std::memcpy(out.scale, in.scales, 16);
  out.d = in.d;
  out.m = 0;
}
template <>
void to_file<DType::kQ6_K>(const RowBlock& in, std::byte* file) {
  quant::BlockQ6_K out;
  for (int n = 0; n < 2; ++n) {
    const std::uint8_t* code = in.code + 128 * n;
    write_nibbles(code, 64, out.ql + 64 * n);
    for (int l = 0; l < 32; ++l) {
      out.qh[32 * n + l] = static_cast<std::uint8_t>(code[l] >> 4 | (code[32 + l] >> 4) << 2 |
                                                     (code[64 + l] >> 4) << 4 | (code[96 + l] >> 4) << 6);
    }
  }
  std::memcpy(out.scales, in.scale, 16);
  out.d = in.d;
  store(out, file);
}

template <>
void from_file<DType::kIQ4_XS>(const std::byte* file, RowBlock& out) {
  const auto in = load<quant::BlockIQ4_XS>(file);
  for (int k = 0; k < 8; ++k) {
    read_nibbles(in.qs + 16 * k, 16, out.code + 32 * k);
    out.scale[k] =
        static_cast<std::uint8_t>(((in.scales_l[k / 2] >> 4 * (k % 2)) & 15) | ((in.scales_h >> 2 * k) & 3) << 4);
  }
  out.d = in.d;
  out.m = in.scales_h;
}
template <>
void to_file<DType::kIQ4_XS>(const RowBlock& in, std::byte* file) {
  quant::BlockIQ4_XS out{};
  for (int k = 0; k < 8; ++k) {
    write_nibbles(in.code + 32 * k, 16, out.qs + 16 * k);
    out.scales_l[k / 2] = static_cast<std::uint8_t>(out.scales_l[k / 2] | (in.scale[k] & 15) << 4 * (k % 2));
  }
  out.scales_h = in.m;
  out.d = in.d;
  store(out, file);
}

template <>
void from_file<DType::kQ4_0>(const std::byte* file, RowBlock& out) {
  const auto in = load<quant::BlockQ4_0>(file);
  read_nibbles(in.qs, 16, out.code);
  out.d = in.d;
  out.m = 0;
}
template <>
void to_file<DType::kQ4_0>(const RowBlock& in, std::byte* file) {
  quant::BlockQ4_0 out;
  write_nibbles(in.code, 16, out.qs);
  out.d = in.d;
  store(out, file);
}

template <>
void from_file<DType::kIQ4_NL>(const std::byte* file, RowBlock& out) {
  from_file<DType::kQ4_0>(file, out);
}
template <>
void to_file<DType::kIQ4_NL>(const RowBlock& in, std::byte* file) {
  to_file<DType::kQ4_0>(in, file);
}

template <>
void from_file<DType::kQ4_1>(const std::byte* file, RowBlock& out) {
  const auto in = load<quant::BlockQ4_1>(file);
  read_nibbles(in.qs, 16, out.code);
  out.d = in.d;
  out.m = in.m;
}
template <>
void to_file<DType::kQ4_1>(const RowBlock& in, std::byte* file) {
  quant::BlockQ4_1 out;
  write_nibbles(in.code, 16, out.qs);
  out.d = in.d;
  out.m = in.m;
  store(out, file);
}

template <>
void from_file<DType::kQ5_0>(const std::byte* file, RowBlock& out) {
  const auto in = load<quant::BlockQ5_0>(file);
  read_nibbles(in.qs, 16, out.code);
  read_fifth(in.qh, out.code);
  out.d = in.d;
  out.m = 0;
}
template <>
void to_file<DType::kQ5_0>(const RowBlock& in, std::byte* file) {
  quant::BlockQ5_0 out;
  write_nibbles(in.code, 16, out.qs);
  write_fifth(in.code, out.qh);
  out.d = in.d;
  store(out, file);
}

template <>
void from_file<DType::kQ5_1>(const std::byte* file, RowBlock& out) {
  const auto in = load<quant::BlockQ5_1>(file);
  read_nibbles(in.qs, 16, out.code);
  read_fifth(in.qh, out.code);
  out.d = in.d;
  out.m = in.m;
}
template <>
void to_file<DType::kQ5_1>(const RowBlock& in, std::byte* file) {
  quant::BlockQ5_1 out;
  write_nibbles(in.code, 16, out.qs);
  write_fifth(in.code, out.qh);
  out.d = in.d;
  out.m = in.m;
  store(out, file);
}

template <>
void from_file<DType::kQ8_0>(const std::byte* file, RowBlock& out) {
  const auto in = load<quant::BlockQ8_0>(file);
  std::memcpy(out.code, in.qs, 32);
  out.d = in.d;
  out.m = 0;
}
template <>
void to_file<DType::kQ8_0>(const RowBlock& in, std::byte* file) {
  quant::BlockQ8_0 out;
  std::memcpy(out.qs, in.code, 32);
  out.d = in.d;
  store(out, file);
}

template <>
void from_file<DType::kMXFP4>(const std::byte* file, RowBlock& out) {
  const auto in = load<quant::BlockMXFP4>(file);
  read_nibbles(in.qs, 16, out.code);
  out.d = in.e;
  out.m = 0;
}
template <>
void to_file<DType::kMXFP4>(const RowBlock& in, std::byte* file) {
  quant::BlockMXFP4 out;
  write_nibbles(in.code, 16, out.qs);
  out.e = static_cast<std::uint8_t>(in.d);
  store(out, file);
}

}  // namespace dodeca::cpu
