#include "quant/interleaved.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "quant/check.hpp"
#include "quant/formats/formats.hpp"

namespace dodeca::quant {
namespace {

constexpr InterleavedType kTypes[] = {
#define TYPE(...)
#define INTERLEAVED(id, name, dtype, rows) {id, name, DType::k##dtype, rows},
#include "quant/types.inc"
};

constexpr int kRows = 4;

// Of a group's 32 columns: byte 16j + 4r + i of its nibbles has columns c + i and c + 8 + i of row r, where c is kFirst[j].
constexpr int kFirst[4] = {0, 16, 4, 20};

void read_nibbles4(const std::uint8_t* qs, int r, std::uint8_t* code) {
  for (int j = 0; j < 4; ++j) {
    for (int i = 0; i < 4; ++i) {
      const std::uint8_t both = qs[16 * j + 4 * r + i];
      code[kFirst[j] + i] = both & 15;
      code[kFirst[j] + 8 + i] = both >> 4;
    }
  }
}
// Fifth bits: bits 0-3 are columns i, 8 + i, 16 + i and 24 + i, bits 4-7 those four further.
void add_fifth_bits(const std::uint8_t* qh, int r, std::uint8_t* code) {
  for (int i = 0; i < 4; ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::uint8_t& at = code[8 * (bit % 4) + 4 * (bit / 4) + i];
      at = static_cast<std::uint8_t>(at | (qh[4 * r + i] >> bit & 1) << 4);
    }
  }
}
// Two bits, column 16h + 4j + i in byte 16h + 4r + i.
void read_twos(const std::uint8_t* qs, int r, std::uint8_t* code) {
  for (int k = 0; k < 32; ++k) code[k] = qs[16 * (k / 16) + 4 * r + k % 4] >> 2 * (k / 4 % 4) & 3;
}
void add_third_bits(const std::uint8_t* qh, int r, std::uint8_t* code) {
  for (int k = 0; k < 32; ++k) code[k] = static_cast<std::uint8_t>(code[k] | (qh[4 * r + k % 4] >> k / 4 & 1) << 2);
}

// A block of a group, field after field: each as large as in four blocks apart.
class Fields {
 public:
  explicit Fields(const std::byte* at) : at_(reinterpret_cast<const std::uint8_t*>(at)) {}
  const std::uint8_t* next(int bytes) { return std::exchange(at_, at_ + bytes); }
  std::uint16_t half(int r) const {
    std::uint16_t bits;
    std::memcpy(&bits, at_ + 2 * r, 2);
    return bits;
  }

 private:
  const std::uint8_t* at_;
};

// Sub-block g of 16 of row r has its scale's nibble, and its upper bits, at place 4g + r of those of all rows.
template <int kBits>
RowBlock read_block16(const std::byte* group, int r) {
  Fields fields(group);
  RowBlock b{};
  b.d = fields.half(r);
  fields.next(8);
  const std::uint8_t *shifts = fields.next(8),
                     *high = fields.next(kBits == 2   ? 0
                                         : kBits == 3 ? 8
                                                      : 16),
                     *low = fields.next(32), *qs = fields.next(kBits <= 3 ? 256 : 512), *qh = fields.next(128);
  for (int g = 0; g < 16; ++g) {
    const int at = 4 * g + r, nibble = low[at % 32] >> 4 * (at / 32) & 15;
    b.m = static_cast<std::uint16_t>(b.m | (shifts[r + 4 * (g % 2)] >> g / 2 & 1) << g);
    if constexpr (kBits == 2) b.scale[g] = static_cast<std::uint8_t>(nibble);
    if constexpr (kBits == 3) {
      const bool negative = (high[at % 8] >> at / 8 & 1) != 0;
      b.scale[g] = static_cast<std::uint8_t>(negative ? 31 - 2 * nibble : 33 + 2 * nibble);
    }
    if constexpr (kBits >= 4)
      b.scale[g] = static_cast<std::uint8_t>(nibble | (high[at % 16] >> 2 * (at / 16) & 3) << 4);
  }
  for (int k = 0; k < 8; ++k) {
    std::uint8_t* code = b.code + 32 * k;
    kBits <= 3 ? read_twos(qs + 32 * k, r, code) : read_nibbles4(qs + 64 * k, r, code);
    if constexpr (kBits == 3) add_third_bits(qh + 16 * k, r, code);
    if constexpr (kBits == 5) add_fifth_bits(qh + 16 * k, r, code);
  }
  return b;
}

template <int kBits>
RowBlock read_block32(const std::byte* group, int r) {
  Fields fields(group);
  RowBlock b{};
  const std::uint8_t *scales = fields.next(32), *qs = fields.next(512), *qh = fields.next(128);
  for (int k = 0; k < 8; ++k) {
    b.scale[k] = scales[4 * k + r];
    read_nibbles4(qs + 64 * k, r, b.code + 32 * k);
    if constexpr (kBits == 5) add_fifth_bits(qh + 16 * k, r, b.code + 32 * k);
  }
  return b;
}

RowBlock read_q6_0(const std::byte* group, int r) {
  Fields fields(group);
  RowBlock b{};
  b.d = fields.half(r);
  fields.next(8);
  const std::uint8_t *qh = fields.next(32), *qs = fields.next(64);
  read_nibbles4(qs, r, b.code);
  for (int k = 0; k < 32; ++k) {
    const int shift = 2 * (k / 4 % 2) + 4 * (k / 8 % 2);
    b.code[k] = static_cast<std::uint8_t>(b.code[k] | (qh[16 * (k / 16) + 4 * r + k % 4] >> shift & 3) << 4);
  }
  return b;
}

template <DType T>
RowBlock read_block(const std::byte* group, int r) {
  using F = Format<T>;
  if constexpr (T == DType::kQ6_0) {
    return read_q6_0(group, r);
  } else if constexpr (F::kRowPrefix == 0) {
    return read_block16<F::kBits>(group, r);
  } else {
    return read_block32<F::kBits>(group, r);
  }
}

template <DType T>
void deinterleave(const std::byte* group, std::int64_t n, std::byte* rows) {
  using F = Format<T>;
  using Block = typename F::Block;
  constexpr std::int64_t kPrefix = F::kRowPrefix;
  const auto row_bytes = static_cast<std::int64_t>(*quant::row_bytes(T, n));
  const std::int64_t n_blocks = n / type_info(T).block_elements;
  for (int r = 0; r < kRows; ++r) std::memcpy(rows + r * row_bytes, group + r * kPrefix, kPrefix);
  group += kRows * kPrefix;
  for (std::int64_t block = 0; block < n_blocks; ++block, group += kRows * sizeof(Block)) {
    for (int r = 0; r < kRows; ++r) {
      Block out{};
      F::write(read_block<T>(group, r), out);
      std::memcpy(rows + r * row_bytes + kPrefix + block * std::int64_t{sizeof out}, &out, sizeof out);
    }
  }
}

}  // namespace

const InterleavedType* find_interleaved(std::uint32_t id) {
  const auto* found = std::ranges::find(kTypes, id, &InterleavedType::id);
  return found == std::end(kTypes) ? nullptr : found;
}

void deinterleave(const InterleavedType& type, const std::byte* group, std::int64_t n, std::byte* rows) {
  DODECA_CHECK(type.rows == kRows && n % type_info(type.dtype).block_elements == 0, type.dtype, n);
  switch (type.dtype) {
#define TYPE(...)
#define INTERLEAVED(id, name, dtype, rows_) \
  case DType::k##dtype:                     \
    return deinterleave<DType::k##dtype>(group, n, rows);
#include "quant/types.inc"
    default:
      return;  // not interleaved: excluded by contract
  }
}

}  // namespace dodeca::quant
