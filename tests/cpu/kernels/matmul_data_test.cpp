#include "tests/cpu/kernels/matmul_data.hpp"

#include <cstring>
#include <iterator>
#include <memory>
#include <random>

#include "cpu/kernels/quantize_act/quantize_act.hpp"
#include "tests/support/random_values.hpp"

namespace dodeca::tests {

using cpu::ActFormat;
using quant::DType;

namespace {

std::mt19937 seeded(std::uint32_t seed) { return std::mt19937(seed); }

struct Fields {
  std::vector<std::size_t> d, m;  // offsets of f16 factors in a block
};
Fields fields_of(DType dtype) {
  if (quant::type_info(dtype).row_prefix_bytes != 0) return {};
  switch (dtype) {
    case DType::kQ2_K:
      return {{80}, {82}};
    case DType::kQ3_K:
      return {{108}, {}};
    case DType::kQ4_K:
    case DType::kQ5_K:
    case DType::kQ4_1:
    case DType::kQ5_1:
      return {{0}, {2}};
    case DType::kQ6_K:
      return {{208}, {}};
    case DType::kTQ1_0:
      return {{52}, {}};
    case DType::kTQ2_0:
      return {{64}, {}};
    case DType::kIQ1_M:
    case DType::kMXFP4:
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kF8_E4M3_B128:
    case DType::kQ8_K:
      return {};
    default:
      return {{0}, {}};
  }
}

void put16(std::byte* at, std::uint16_t bits) { std::memcpy(at, &bits, 2); }
void put_float(std::byte* at, float value) { std::memcpy(at, &value, 4); }

// Calls what(block) for every block of every row.
template <class What>
void for_each_block(DType dtype, std::int64_t n_in, std::vector<std::byte>& rows, What&& what) {
  const quant::TypeInfo& info = quant::type_info(dtype);
  const std::size_t row_bytes = *quant::row_bytes(dtype, n_in);
  for (std::size_t row = 0; row < rows.size(); row += row_bytes) {
    for (auto at = static_cast<std::size_t>(info.row_prefix_bytes); at < row_bytes;
         at += static_cast<std::size_t>(info.block_bytes))
      what(rows.data() + row + at);
  }
}
// The same for the scale of a row, where the type has one.
template <class What>
void for_each_prefix(DType dtype, std::int64_t n_in, std::vector<std::byte>& rows, What&& what) {
  if (quant::type_info(dtype).row_prefix_bytes == 0) return;
  for (std::size_t row = 0; row < rows.size(); row += *quant::row_bytes(dtype, n_in)) what(rows.data() + row);
}

// The scale of a row, an f16 or an f32: small, and of middling size for an f16.
void put_prefix(DType dtype, std::byte* at, float value, std::uint16_t half) {
  if (quant::type_info(dtype).row_prefix_bytes == 2) return put16(at, half);
  put_float(at, value);
}

// n_rows rows of random blocks with tame factors (any code bits, no NaN); [n_rows, row bytes].
std::vector<std::byte> random_rows(DType dtype, std::int64_t n_rows, std::int64_t n_in, std::mt19937& random) {
  const quant::TypeInfo& info = quant::type_info(dtype);
  const auto block_bytes = static_cast<std::size_t>(info.block_bytes);
  std::vector<std::byte> rows(static_cast<std::size_t>(n_rows) * *quant::row_bytes(dtype, n_in));
  for (std::byte& b : rows) b = static_cast<std::byte>(random());
  const Fields fields = fields_of(dtype);
  for_each_prefix(dtype, n_in, rows, [&](std::byte* scale) {
    put_prefix(dtype, scale, std::uniform_real_distribution<float>(0.0001f, 0.001f)(random),
               static_cast<std::uint16_t>(0x0800 + random() % 0x0c00));
  });
  for_each_block(dtype, n_in, rows, [&](std::byte* block) {
    const auto f16 = [&] { return static_cast<std::uint16_t>(0x2000 + random() % 0x0c00 + (random() % 2 << 15)); };
    for (std::size_t offset : fields.d) put16(block + offset, f16());
    for (std::size_t offset : fields.m) put16(block + offset, f16());
    switch (dtype) {
      case DType::kIQ1_M:
        for (std::size_t i = 0; i < 4; ++i)
          block[49 + 2 * i] = (block[49 + 2 * i] & std::byte{15}) | std::byte(i == 3 ? 0x30 : 0);
        break;
      case DType::kMXFP4:
        block[0] = static_cast<std::byte>(random() % 64 + 96);
        break;
      case DType::kF16:
        put16(block, f16());
        break;
      case DType::kBF16:
        put16(block, static_cast<std::uint16_t>(0x3c00 + random() % 0x0400 + (random() % 2 << 15)));
        break;
      case DType::kF32:
        put_float(block, std::normal_distribution<float>()(random));
        break;
      case DType::kQ8_K:
        put_float(block, 0.01f);
        break;
      case DType::kF8_E4M3_B128:
        put_float(block, std::uniform_real_distribution<float>(0.001f, 0.01f)(random));
        for (std::size_t i = 4; i < block_bytes; ++i) {
          if ((block[i] & std::byte{0x7f}) == std::byte{0x7f}) block[i] = std::byte{0x11};
        }
        break;
      default:
        break;
    }
  });
  return rows;
}

}  // namespace

void keep_part(DType dtype, std::int64_t n_in, std::vector<std::byte>& rows, Part part) {
  const Fields fields = fields_of(dtype);
  for_each_block(dtype, n_in, rows, [&](std::byte* block) {
    if (part == Part::kScaled) {
      for (std::size_t offset : fields.m) put16(block + offset, 0);
    } else if (part == Part::kMin) {
      for (std::size_t offset : fields.d) put16(block + offset, 0);
    }
  });
}

namespace {

void make_extreme(DType dtype, std::byte* block, std::mt19937& random) {
  constexpr std::uint16_t kHalves[] = {0, 0x8000, 1, 0x7bff, 0xfbff};
  constexpr std::uint8_t kExponents[] = {0, 1, 254, 255};
  constexpr float kScales[] = {0.0f, 0x1p-149f, 0x1p100f};
  const std::uint16_t half = kHalves[random() % std::size(kHalves)];
  const Fields fields = fields_of(dtype);
  for (std::size_t offset : fields.d) put16(block + offset, half);
  for (std::size_t offset : fields.m) put16(block + offset, kHalves[random() % std::size(kHalves)]);
  if (dtype == DType::kIQ1_M) {
    for (std::size_t i = 0; i < 4; ++i)
      block[49 + 2 * i] = (block[49 + 2 * i] & std::byte{15}) | std::byte((half >> 4 * i & 15) << 4);
  }
  if (dtype == DType::kF16) put16(block, half);
  if (dtype == DType::kMXFP4) block[0] = static_cast<std::byte>(kExponents[random() % std::size(kExponents)]);
  if (dtype == DType::kF8_E4M3_B128) put_float(block, kScales[random() % std::size(kScales)]);
}

void set_factors_to_one(DType dtype, std::int64_t n_in, std::vector<std::byte>& rows) {
  constexpr std::uint16_t kOne = 0x3c00;
  const Fields fields = fields_of(dtype);
  for_each_prefix(dtype, n_in, rows, [&](std::byte* scale) { put_prefix(dtype, scale, 1.0f, kOne); });
  for_each_block(dtype, n_in, rows, [&](std::byte* block) {
    for (std::size_t offset : fields.d) put16(block + offset, kOne);
    for (std::size_t offset : fields.m) put16(block + offset, kOne);
    if (dtype == DType::kMXFP4) block[0] = std::byte{128};  // of doubled values
  });
}

// Whole numbers up to 127, which quantize to themselves.
std::vector<float> whole_values(std::size_t n, std::mt19937& random) {
  std::vector<float> x(n);
  for (std::size_t k = 0; k < n; ++k) x[k] = k % 32 == 0 ? 127.0f : static_cast<float>(random() % 255) - 127.0f;
  return x;
}

// Codes that are all alike, often the largest or the smallest, under random scales: the largest sums of products.
void make_alike(DType dtype, std::byte* block, std::mt19937& random) {
  constexpr std::uint8_t kBytes[] = {0x00, 0x80, 0xff};
  const Fields fields = fields_of(dtype);
  if (fields.d.empty() && quant::type_info(dtype).row_prefix_bytes == 0) return;
  const auto size = static_cast<std::size_t>(quant::type_info(dtype).block_bytes);
  const std::vector<std::byte> before(block, block + size);
  std::memset(block + (random() % 2 == 0 ? size / 4 : 0), kBytes[random() % std::size(kBytes)], size * 3 / 4);
  for (std::size_t offset : fields.d) std::memcpy(block + offset, before.data() + offset, 2);
  for (std::size_t offset : fields.m) std::memcpy(block + offset, before.data() + offset, 2);
}

std::vector<std::byte> make_rows(DType dtype, std::int64_t n_out, std::int64_t n_in, std::uint32_t seed,
                                 Factors factors) {
  std::mt19937 random = seeded(seed);
  std::vector<std::byte> rows = random_rows(dtype, n_out, n_in, random);
  if (factors == Factors::kOne) set_factors_to_one(dtype, n_in, rows);
  const quant::TypeInfo& info = quant::type_info(dtype);
  const auto blocks = static_cast<std::size_t>(n_in / info.block_elements);
  for (std::size_t row = 1; factors == Factors::kExtreme && row < static_cast<std::size_t>(n_out); row += 2) {
    std::byte* at = rows.data() + row * *quant::row_bytes(dtype, n_in);
    const auto prefix = static_cast<std::size_t>(info.row_prefix_bytes);
    if (prefix != 0) {
      constexpr float kScales[] = {0.0f, 0x1p-149f, 0x1p100f, -0x1p100f};
      constexpr std::uint16_t kHalves[] = {0, 1, 0x7bff, 0xfbff};
      const std::size_t which = random() % std::size(kScales);
      put_prefix(dtype, at, kScales[which], kHalves[which]);
    }
    make_extreme(dtype, at + prefix + random() % blocks * static_cast<std::size_t>(info.block_bytes), random);
  }
  for (std::size_t row = 2; factors == Factors::kExtreme && row < static_cast<std::size_t>(n_out); row += 4) {
    std::byte* at = rows.data() + row * *quant::row_bytes(dtype, n_in) + info.row_prefix_bytes;
    for (std::size_t block = 0; block < blocks; ++block) {
      make_alike(dtype, at + block * static_cast<std::size_t>(info.block_bytes), random);
    }
  }
  return rows;
}

}  // namespace

Product::Product(DType dtype, std::int64_t n_in, std::int64_t n_out, std::int64_t n_act_rows, std::uint32_t seed,
                 Factors factors)
    : dtype(dtype),
      n_in(n_in),
      n_out(n_out),
      n_act_rows(n_act_rows),
      rows(make_rows(dtype, n_out, n_in, seed, factors)),
      layout_(cpu::layout_of(dtype)),
      act_stride_(cpu::act_row_bytes(layout_.act, n_in)),
      weights_(static_cast<std::size_t>(n_tiles()) * layout_.tile_bytes(n_in)),
      acts_(static_cast<std::size_t>(n_act_rows) * act_stride_) {
  const std::size_t row_bytes = *quant::row_bytes(dtype, n_in);
  for (std::int64_t tile = 0; tile < n_tiles(); ++tile) {
    const std::byte* pointers[cpu::kTileRows];
    for (std::int64_t r = 0; r < cpu::kTileRows; ++r) {
      const std::int64_t row = tile * cpu::kTileRows + r;
      pointers[r] = row < n_out ? rows.data() + static_cast<std::size_t>(row) * row_bytes : nullptr;
    }
    layout_.pack(pointers, n_in, weights_.data() + static_cast<std::size_t>(tile) * layout_.tile_bytes(n_in));
  }
  std::mt19937 random = seeded(seed + 1);
  for (std::int64_t row = 0; row < n_act_rows; ++row) {
    std::vector<float> x = random_values(static_cast<std::size_t>(n_in), random);
    if (row % 3 == 1) {  // extremes everywhere: the largest sums that the integers must hold
      for (float& value : x) value = value < 0 ? -1.0f : 1.0f;
    }
    if (row % 5 == 4) std::fill(x.begin(), x.end(), 1.0f);
    if (factors == Factors::kOne) x = whole_values(x.size(), random);
    cpu::quantize_act(layout_.act, x.data(), n_in, acts_.data() + static_cast<std::size_t>(row) * act_stride_,
                      cpu::Isa::kScalar);
  }
}

std::int64_t Product::act_row(std::int64_t i, bool gather) const { return gather ? (i * 7 + 3) % n_act_rows : i; }

std::vector<float> Product::dequantized_act(std::int64_t row) const {
  const std::byte* act = acts_.data() + static_cast<std::size_t>(row) * act_stride_;
  std::vector<float> x(static_cast<std::size_t>(n_in));
  for (std::size_t k = 0; k < x.size(); ++k) {
    if (layout_.act == ActFormat::kF32) {
      x[k] = reinterpret_cast<const float*>(act)[k];
    } else if (layout_.act == ActFormat::kQ8_256) {
      const auto& block = reinterpret_cast<const cpu::Q8Block256*>(act)[k / 256];
      x[k] = block.scale * static_cast<float>(block.q[k % 256]);
    } else {
      const auto& block = reinterpret_cast<const cpu::Q8Block32*>(act)[k / 32];
      x[k] = block.scale * static_cast<float>(block.q[k % 32]);
    }
  }
  return x;
}

namespace {

// Guarded work space full of 0xff, kept while the size stays: mapping it anew takes longer than most products.
std::byte* fresh_scratch(std::size_t bytes) {
  thread_local std::unique_ptr<GuardedBuffer<std::byte>> scratch;
  if (scratch == nullptr || scratch->size() != bytes) scratch = std::make_unique<GuardedBuffer<std::byte>>(bytes);
  std::memset(scratch->data(), 0xff, bytes);
  return scratch->data();
}

}  // namespace

std::vector<float> Product::run(const cpu::MatmulKernel& kernel, std::int64_t n_acts, bool gather,
                                std::int64_t tile_begin, std::int64_t tile_end, bool accumulate) const {
  std::vector<std::int32_t> act_rows;
  for (std::int64_t i = 0; i < n_acts; ++i) act_rows.push_back(static_cast<std::int32_t>(act_row(i, gather)));
  const GuardedBuffer<float> out(std::vector<float>(static_cast<std::size_t>(n_acts * n_out), kMarker));
  std::byte* scratch = fresh_scratch(cpu::matmul_scratch_bytes(n_in));
  kernel.run({.layout = &layout_,
              .weights = weights_.data(),
              .n_in = n_in,
              .n_out = n_out,
              .tile_begin = tile_begin,
              .tile_end = tile_end,
              .acts = acts_.data(),
              .act_stride = act_stride_,
              .act_rows = gather ? act_rows.data() : nullptr,
              .n_acts = n_acts,
              .out = out.data(),
              .out_stride = n_out,
              .accumulate = accumulate,
              .scratch = scratch});
  return {out.data(), out.data() + out.size()};
}

std::vector<float> Product::run(const cpu::MatmulKernel& kernel, std::int64_t n_acts, bool gather) const {
  return run(kernel, n_acts, gather, 0, n_tiles());
}

}  // namespace dodeca::tests
