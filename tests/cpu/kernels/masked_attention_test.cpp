// Positions that a mask leaves out are as if they were not there.
#include <doctest/doctest.h>

#include <limits>
#include <vector>

#include "cpu/kernels/attention/integer.hpp"
#include "cpu/memory.hpp"
#include "quant/codec.hpp"
#include "tests/support/kernel_variants.hpp"
#include "tests/support/random_values.hpp"

using namespace dodeca;
using cpu::IntegerShape;
using quant::DType;

namespace {

constexpr std::int64_t kPositions = 250, kLanes = 37;

struct Attended {
  std::vector<float> max, sum, acc;
  bool operator==(const Attended&) const = default;
};

struct Masked {
  IntegerShape shape;
  DType dtype;
  std::size_t row_bytes;
  std::vector<std::byte> rows;
  std::vector<float> q;

  Masked(DType type, float spread)
      : shape{type == DType::kI8 ? cpu::Digits::k8 : cpu::Digits::k16, 64, 32, 64},
        dtype(type),
        row_bytes(type == DType::kI8 ? cpu::int8_row_bytes(64, 32) : *quant::row_bytes(type, 96)),
        rows(row_bytes * cpu::kChunkPositions),
        q(tests::random_values(kLanes * 96, 4)) {
    for (std::int64_t i = 0; i < kPositions; ++i) {
      const std::vector<float> row =
          tests::random_values(96, static_cast<unsigned>(10 + i), i % 3 == 0 ? spread : 1.0f);
      std::byte* to = rows.data() + static_cast<std::size_t>(i) * row_bytes;
      if (type == DType::kI8)
        cpu::encode_int8_row(row.data(), 64, 32, to);
      else
        quant::encode_row(type, row.data(), to, 96);
    }
  }

  Attended run(const cpu::IntegerAttention& f, const std::vector<std::int32_t>& visible,
               const std::uint16_t* masks) const {
    const cpu::Buffer strips(3 * cpu::strip_bytes(shape)), chunk(cpu::ChunkLayout(shape).total);
    const std::byte* blocks[4];
    for (std::size_t b = 0; b < 4; ++b) blocks[b] = rows.data() + b * cpu::kWeightBlock * row_bytes;
    f.load_cache({shape, dtype, blocks, row_bytes, kPositions, chunk.data()});
    f.pack_queries({shape, q.data(), 96, kLanes, 0.1f, strips.data()});
    Attended a{std::vector<float>(kLanes, -std::numeric_limits<float>::infinity()), std::vector<float>(kLanes),
               std::vector<float>(kLanes * 64)};
    for (int twice = 0; twice < 2; ++twice)  // into a state that is there already, too
      f.fold({.shape = shape,
              .queries = strips.data(),
              .n_lanes = kLanes,
              .chunk = chunk.data(),
              .n = kPositions,
              .visible = visible.data(),
              .max = a.max.data(),
              .sum = a.sum.data(),
              .acc = a.acc.data(),
              .acc_stride = 64,
              .masks = masks,
              .mask_stride = 256});
    return a;
  }
};

std::vector<std::uint16_t> random_masks(std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::uint16_t> masks(3 * 256);
  for (std::uint16_t& mask : masks) mask = static_cast<std::uint16_t>(random());
  return masks;
}

}  // namespace

TEST_CASE("masks: every variant gives the scalar bits") {
  for (const DType type : {DType::kF16, DType::kI8}) {
    const Masked m(type, 1.0f);
    std::vector<std::int32_t> visible(kLanes, kPositions);
    visible[3] = 0;
    visible[17] = 100;
    std::vector<std::uint16_t> masks = random_masks(1);
    for (std::size_t i = 0; i < 256; ++i) masks[i] &= 0xffdf;  // lane 5 sees nothing at all
    const Attended want = m.run(*cpu::integer_attention_kernels().front().run, visible, masks.data());
    CHECK(want.sum[5] == 0.0f);
    for (const auto& variant : cpu::integer_attention_kernels()) {
      if (!tests::variant_runs(variant.name, variant.isa)) continue;
      CHECK_MESSAGE((m.run(*variant.run, visible, masks.data()) == want), variant.name);
    }
  }
}

TEST_CASE("masks: what they leave out changes nothing, and nothing left out is no mask") {
  for (const DType type : {DType::kF16, DType::kI8}) {
    const Masked m(type, 1.0f), wild(type, 1000.0f);  // every third position differs
    const std::vector<std::int32_t> visible(kLanes, kPositions), less(kLanes, 77);
    std::vector<std::uint16_t> masks = random_masks(2), all(3 * 256, 0xffff), first(3 * 256);
    for (std::size_t i = 0; i < masks.size(); ++i) {
      if (i % 256 % 3 == 0) masks[i] = 0;
      if (i % 256 < 77) first[i] = 0xffff;
    }
    for (const auto& variant : cpu::integer_attention_kernels()) {
      if (!tests::variant_runs(variant.name, variant.isa)) continue;
      const cpu::IntegerAttention& f = *variant.run;
      CHECK_MESSAGE((m.run(f, visible, masks.data()) == wild.run(f, visible, masks.data())), variant.name);
      CHECK_MESSAGE((m.run(f, visible, all.data()) == m.run(f, visible, nullptr)), variant.name);
      CHECK_MESSAGE((m.run(f, visible, first.data()) == m.run(f, less, nullptr)), variant.name);
    }
  }
}
