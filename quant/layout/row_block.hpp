// One block of one row as plain integers: what packing, unpacking, encoding and the scalar products share. Holds every
// bit of the file's block. Formats (quant/formats) put it together and take it apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace dodeca::quant {

struct alignas(64) RowBlock {
  std::uint8_t code[256];  // unsigned codes; Q8_0: the byte as it is
  std::uint8_t scale[16];  // per sub-block, as stored (Q6_K: the byte of an i8)
  std::uint8_t min[16];
  std::uint16_t d, m;  // bits of d and of dmin, m, scales_h or shifts; MXFP4: d is the E8M0 byte
  float row_scale;     // of types whose rows begin with an f32; d for those that begin with an f16
  // Lattice types instead of codes: points of eight columns (IQ3: four), and per eight columns the sign index or byte
  // (IQ1: whether the shift is negative).
  std::uint16_t index[64];
  std::uint8_t sign[32];
};

// Lane r of vector v.
inline std::uint32_t get(const std::byte* vectors, int v, int r) {
  std::uint32_t lane;
  std::memcpy(&lane, vectors + 64 * v + 4 * r, 4);
  return lane;
}
inline void put(std::byte* vectors, int v, int r, std::uint32_t lane) {
  std::memcpy(vectors + 64 * v + 4 * r, &lane, 4);
}

// Unit u of a block.
inline std::uint32_t unit(const RowBlock& block, int u) {
  std::uint32_t codes;
  std::memcpy(&codes, block.code + 4 * u, 4);
  return codes;
}
inline void set_unit(RowBlock& block, int u, std::uint32_t codes) { std::memcpy(block.code + 4 * u, &codes, 4); }

inline constexpr std::uint32_t kOnes = 0x01010101u, kThrees = 0x03030303u, kSevens = 0x07070707u,
                               kNibbles = 0x0f0f0f0fu;

// Fields of two or four bits of n sub-blocks: g = 2p + e at bit width*p + 16e.
inline std::uint32_t fields(const std::uint8_t* values, int n, int shift, int width) {
  std::uint32_t lane = 0;
  for (int g = 0; g < n; ++g) {
    lane |= ((static_cast<std::uint32_t>(values[g]) >> shift) & ((1u << width) - 1))
            << (width * (g / 2) + 16 * (g % 2));
  }
  return lane;
}
inline std::uint8_t field(std::uint32_t lane, int g, int width) {
  return static_cast<std::uint8_t>((lane >> (width * (g / 2) + 16 * (g % 2))) & ((1u << width) - 1));
}

// n scales of a byte each, four to a vector, the vectors at the offsets at(0), at(1), ...
inline constexpr int kBytePlace[4] = {0, 2, 1, 3};
template <class At>
void scale_bytes_to_tile(const std::uint8_t* scale, int n, int r, std::byte* body, At at) {
  for (int g = 0; g < n; ++g) body[at(g / 4) + 4 * r + kBytePlace[g % 4]] = std::byte{scale[g]};
}
template <class At>
void scale_bytes_from_tile(const std::byte* body, int n, int r, std::uint8_t* scale, At at) {
  for (int g = 0; g < n; ++g) scale[g] = static_cast<std::uint8_t>(body[at(g / 4) + 4 * r + kBytePlace[g % 4]]);
}

// Eight bytes at a time, which g++ does not do by itself where bytes may overlap.
inline std::uint64_t eight_bytes(const std::uint8_t* at) {
  std::uint64_t eight;
  std::memcpy(&eight, at, 8);
  return eight;
}
inline void set_eight_bytes(std::uint8_t* at, std::uint64_t eight) { std::memcpy(at, &eight, 8); }
inline constexpr std::uint64_t kEightOnes = 0x0101010101010101ull, kEightThrees = 3 * kEightOnes,
                               kEightNibbles = 15 * kEightOnes;

// In the file: two runs of `half` columns are the low, then the high nibbles of `half` bytes, a multiple of 8.
inline void read_nibbles(const std::uint8_t* qs, int half, std::uint8_t* code) {
  for (int l = 0; l < half; l += 8) {
    const std::uint64_t both = eight_bytes(qs + l);
    set_eight_bytes(code + l, both & kEightNibbles);
    set_eight_bytes(code + half + l, both >> 4 & kEightNibbles);
  }
}
inline void write_nibbles(const std::uint8_t* code, int half, std::uint8_t* qs) {
  for (int l = 0; l < half; l += 8) {
    const std::uint64_t low = eight_bytes(code + l), high = eight_bytes(code + half + l);
    set_eight_bytes(qs + l, (low & kEightNibbles) | (high & kEightNibbles) << 4);
  }
}

// In the file: columns 128n + 32j + l are bits 2j of qs[32n + l]. read: bits from kAt on of the codes, whose lower bits are
// there already.
template <int kAt = 0>
void read_2bit(const std::uint8_t* qs, std::uint8_t* code) {
  for (int n = 0; n < 2; ++n) {
    for (int l = 0; l < 32; l += 8) {
      const std::uint64_t four = eight_bytes(qs + 32 * n + l);
      for (int j = 0; j < 4; ++j) {
        std::uint8_t* at = code + 128 * n + 32 * j + l;
        const std::uint64_t lower = kAt == 0 ? 0 : eight_bytes(at);
        set_eight_bytes(at, lower | (four >> 2 * j & kEightThrees) << kAt);
      }
    }
  }
}
template <int kAt = 0>
void write_2bit(const std::uint8_t* code, std::uint8_t* qs) {
  for (int n = 0; n < 2; ++n) {
    for (int l = 0; l < 32; l += 8) {
      std::uint64_t four = 0;
      for (int j = 0; j < 4; ++j) four |= (eight_bytes(code + 128 * n + 32 * j + l) >> kAt & kEightThrees) << 2 * j;
      set_eight_bytes(qs + 32 * n + l, four);
    }
  }
}

// In the file: code kRun * j + l has bit j of plane[l] as its bit kAt.
template <int kAt, int kRun = 32>
void read_plane(const std::uint8_t* plane, std::uint8_t* code) {
  for (int l = 0; l < kRun; l += 8) {
    const std::uint64_t eight = eight_bytes(plane + l);
    for (int j = 0; j < 8; ++j) {
      std::uint8_t* at = code + kRun * j + l;
      set_eight_bytes(at, eight_bytes(at) | (eight >> j & kEightOnes) << kAt);
    }
  }
}
template <int kAt, int kRun = 32>
void write_plane(const std::uint8_t* code, std::uint8_t* plane) {
  for (int l = 0; l < kRun; l += 8) {
    std::uint64_t eight = 0;
    for (int j = 0; j < 8; ++j) eight |= (eight_bytes(code + kRun * j + l) >> kAt & kEightOnes) << j;
    set_eight_bytes(plane + l, eight);
  }
}

}  // namespace dodeca::quant
