#include "cpu/kernels/matmul/matmul.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <set>
#include <stdexcept>
#include <tuple>

#include "cpu/isa.hpp"
#include "cpu/team.hpp"
#include "quant/codec.hpp"
#include "tests/cpu/kernels/matmul_data.hpp"
#include "tests/support/kernel_variants.hpp"

using namespace dodeca;
using cpu::Isa;
using cpu::Layout;
using cpu::MatmulKernel;
using quant::DType;

namespace {

std::string name(DType dtype) { return std::string(quant::name_of(dtype)); }

const MatmulKernel& scalar_variant(DType dtype) { return *cpu::select_matmul(dtype, Isa::kScalar).gemv; }

// The layout that products with a type take, of every type.
std::vector<Layout> multiplied_layouts() {
  std::vector<Layout> layouts;
  for (const Layout& layout : cpu::all_layouts()) {
    if (&cpu::layout_of(layout.dtype) == &layout) layouts.push_back(layout);
  }
  return layouts;
}

std::vector<const MatmulKernel*> all_variants() {
  std::vector<const MatmulKernel*> variants;
  for (const MatmulKernel& variant : cpu::gemv_kernels()) variants.push_back(&variant);
  for (const MatmulKernel& variant : cpu::gemm_kernels()) variants.push_back(&variant);
  return variants;
}

// Variants that this host cannot run are named; with DODECA_REQUIRE_ISA=<level> those at or below it are failures.
class Skips {
 public:
  bool skip(const MatmulKernel& variant) {
    if (cpu::host_isa().has(variant.isa)) return false;
    const char* required = std::getenv("DODECA_REQUIRE_ISA");
    if (required != nullptr)
      CHECK_MESSAGE(!cpu::isa_from_name(required).value().has(variant.isa), variant.name, " cannot run here");
    names_ += ' ';
    names_ += variant.name;
    return true;
  }
  ~Skips() {
    if (!names_.empty()) MESSAGE("skipped, this host (or DODECA_ISA) has no such instructions:", names_);
  }

 private:
  std::string names_;
};

// How large tiles may be: quant/layout/tile.hpp.
std::size_t percent_of_file(DType dtype) {
  switch (dtype) {
    case DType::kIQ1_S:
    case DType::kIQ1_M:
      return 108;
    case DType::kIQ2_KS:
    case DType::kIQ2_KL:
    case DType::kIQ3_KS:
    case DType::kIQ3_K:
      return 103;
    default:
      return 100;
  }
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && tests::same_bits(a.data(), b.data(), a.size());
}

}  // namespace

TEST_CASE("every decodable type has a layout, and packing gives back the file's bits") {
  std::mt19937 random(7);
  std::set<DType> packed;
  for (const Layout& layout : cpu::all_layouts()) {
    const quant::TypeInfo& info = quant::type_info(layout.dtype);
    CAPTURE(layout.name);
    CHECK(quant::find_layout(layout.dtype, layout.kind) == &layout);
    packed.insert(layout.dtype);
    for (std::int64_t n_blocks : {1, 2, 3, 5, 17}) {
      const std::int64_t n_in = n_blocks * info.block_elements;
      const std::size_t row_bytes = *quant::row_bytes(info.dtype, n_in);
      std::vector<std::byte> file(16 * row_bytes);
      for (std::byte& b : file) b = static_cast<std::byte>(random());  // every bit pattern, NaN factors too
      const std::size_t tile_bytes = layout.tile_bytes(n_in);
      CHECK(tile_bytes % 64 == 0);
      CHECK(tile_bytes >= 16 * row_bytes);
      CHECK(100 * tile_bytes < percent_of_file(info.dtype) * 16 * row_bytes + 6400);
      for (int n_rows : {16, 5}) {
        const std::byte* in[16];
        for (int r = 0; r < 16; ++r)
          in[r] = r < n_rows ? file.data() + static_cast<std::size_t>(r) * row_bytes : nullptr;
        tests::GuardedBuffer<std::byte> tile(tile_bytes), other(tile_bytes);
        std::memset(tile.data(), 0x55, tile_bytes);
        std::memset(other.data(), 0xaa, tile_bytes);
        layout.pack(in, n_in, tile.data());
        layout.pack(in, n_in, other.data());
        CHECK(std::memcmp(tile.data(), other.data(), tile_bytes) == 0);  // nothing left unwritten
        std::vector<std::byte> back(file.size(), std::byte{0x33});
        std::byte* out[16];
        for (int r = 0; r < 16; ++r) {
          out[r] = r < n_rows && r != 2 ? back.data() + static_cast<std::size_t>(r) * row_bytes : nullptr;
        }
        layout.unpack(tile.data(), n_in, out);
        for (int r = 0; r < n_rows; ++r) {
          if (r != 2) CHECK(std::memcmp(out[r], in[r], row_bytes) == 0);
        }
        CHECK(back[2 * row_bytes] == std::byte{0x33});
      }
    }
  }
  for (const quant::TypeInfo& info : quant::all_types()) CHECK(packed.contains(info.dtype) == info.decodable);
  CHECK(cpu::layout_of(DType::kQ2_K).name == "q2_k_x16");
  CHECK(cpu::layout_of(DType::kTQ1_0).kind == cpu::LayoutKind::kRows);
  CHECK(quant::find_layout(DType::kQ2_K, cpu::LayoutKind::kRows)->name == "q2_k_rows");
  CHECK(quant::find_layout(DType::kTQ1_0, cpu::LayoutKind::kTiles16) == nullptr);
  CHECK_THROWS_AS(cpu::layout_of(DType::kI32), std::invalid_argument);
}

TEST_CASE("the lists hold no variant twice and a scalar variant for every layout") {
  for (const auto variants : {cpu::gemv_kernels(), cpu::gemm_kernels()}) {
    std::set<std::tuple<DType, cpu::LayoutKind, std::string, cpu::Match>> seen;
    std::set<std::string_view> names;
    for (const MatmulKernel& variant : variants) {
      CAPTURE(variant.name);
      CHECK(seen.insert({variant.dtype, variant.layout, cpu::name_of(variant.isa), variant.match}).second);
      CHECK(names.insert(variant.name).second);
    }
    for (const Layout& layout : multiplied_layouts()) {
      CHECK_MESSAGE(seen.count({layout.dtype, layout.kind, "scalar", cpu::Match::kExact}) == 1, name(layout.dtype));
    }
  }
}

TEST_CASE("scalar products agree with decoded weights multiplied in double precision") {
  for (const Layout& layout : multiplied_layouts()) {
    const std::int64_t block = std::max<std::int64_t>(quant::type_info(layout.dtype).block_elements, 32);
    const std::int64_t n_in = 3 * block, n_out = 19, n_acts = 5;
    const tests::Product product(layout.dtype, n_in, n_out, n_acts, 11);
    const std::vector<float> got = product.run(scalar_variant(layout.dtype), n_acts, false);
    std::vector<std::byte> scaled = product.rows, minimum = product.rows;
    tests::keep_part(layout.dtype, n_in, scaled, tests::Part::kScaled);
    tests::keep_part(layout.dtype, n_in, minimum, tests::Part::kMin);
    const bool has_min = minimum != product.rows && scaled != product.rows;
    const auto n = static_cast<std::size_t>(n_in);
    std::vector<float> w(n), w_scaled(n), w_min(n);
    const std::size_t row_bytes = *quant::row_bytes(layout.dtype, n_in);
    // Every result is a chain of at most n_in roundings (floats) or two per block, each below half an ulp of a partial
    // sum of the magnitudes; the decoded weights and activations bring four more roundings per term.
    const double terms = (layout.act == cpu::ActFormat::kF32 ? static_cast<double>(n_in) / 4 + 4.0
                                                             : 2.0 * static_cast<double>(n_in) / 32) +
                         4;
    for (std::int64_t r = 0; r < n_out; ++r) {
      const std::size_t at = static_cast<std::size_t>(r) * row_bytes;
      quant::decode_row(layout.dtype, product.rows.data() + at, w.data(), n_in);
      quant::decode_row(layout.dtype, scaled.data() + at, w_scaled.data(), n_in);
      quant::decode_row(layout.dtype, minimum.data() + at, w_min.data(), n_in);
      for (std::int64_t i = 0; i < n_acts; ++i) {
        const std::vector<float> x = product.dequantized_act(i);
        double want = 0, magnitude = 0;
        for (std::size_t k = 0; k < n; ++k) {
          want += static_cast<double>(w[k]) * x[k];
          magnitude += (has_min ? std::fabs(w_scaled[k]) + std::fabs(w_min[k]) : std::fabs(w[k])) * std::fabs(x[k]);
        }
        const double difference = std::fabs(got[static_cast<std::size_t>(i * n_out + r)] - want);
        CHECK_MESSAGE(difference <= terms * 0x1p-24 * magnitude, name(layout.dtype), " row ", r, " activation ", i);
      }
    }
  }
}

TEST_CASE("every exact variant gives the scalar variant's bits for every shape") {
  Skips skips;
  for (const Layout& layout : multiplied_layouts()) {
    std::vector<const MatmulKernel*> variants;
    for (const MatmulKernel* variant : all_variants()) {
      const bool vector_variant =
          variant->dtype == layout.dtype && variant->isa != Isa::kScalar && variant->match == cpu::Match::kExact;
      if (vector_variant && !skips.skip(*variant)) variants.push_back(variant);
    }
    if (variants.empty()) continue;
    const std::int64_t block = quant::type_info(layout.dtype).block_elements;
    std::vector<std::int64_t> widths = {block, 2 * block, 3 * block, 5 * block};
    if (block == 1) widths = {1, 3, 4, 7, 64, 129};
    if (block == 32) widths.insert(widths.end(), {12 * block, 44 * block});  // a second, partial step of decoding
    for (std::int64_t n_in : widths) {
      const bool every_edge = n_in == widths[2];  // row edges and widths are independent of each other
      for (std::int64_t n_out :
           every_edge ? std::vector<std::int64_t>{1, 15, 16, 17, 33, 80} : std::vector<std::int64_t>{33}) {
        const tests::Product product(layout.dtype, n_in, n_out, 64, static_cast<std::uint32_t>(n_in * 100 + n_out),
                                     tests::Factors::kExtreme);
        for (std::int64_t n_acts : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 64}) {
          const bool gather = n_acts % 2 == 1;
          const std::vector<float> want = product.run(scalar_variant(layout.dtype), n_acts, gather);
          for (const MatmulKernel* variant : variants) {
            CHECK_MESSAGE(same_bits(product.run(*variant, n_acts, gather), want), variant->name, " n_in ", n_in,
                          " n_out ", n_out, " n_acts ", n_acts, " gather ", gather);
          }
        }
        const std::int64_t begin = product.n_tiles() / 3, end = product.n_tiles() - product.n_tiles() / 4;
        for (std::int64_t n_acts : {1, 11}) {
          const std::vector<float> part = product.run(scalar_variant(layout.dtype), n_acts, true, begin, end);
          std::vector<float> added = part;
          for (std::size_t i = 0; i < added.size(); ++i) {
            const auto tile = static_cast<std::int64_t>(i) % n_out / cpu::kTileRows;
            if (begin <= tile && tile < end) added[i] = tests::kMarker + part[i];
          }
          CHECK(same_bits(product.run(scalar_variant(layout.dtype), n_acts, true, begin, end, true), added));
          for (const MatmulKernel* variant : variants) {
            CHECK_MESSAGE(same_bits(product.run(*variant, n_acts, true, begin, end), part), variant->name, " tiles ",
                          begin, " to ", end);
            CHECK_MESSAGE(same_bits(product.run(*variant, n_acts, true, begin, end, true), added), variant->name,
                          " accumulating");
            CHECK_MESSAGE(same_bits(product.run(*variant, n_acts, true, end, end),
                                    product.run(scalar_variant(layout.dtype), n_acts, true, end, end)),
                          variant->name, " no tiles");
          }
        }
      }
    }
  }
}

TEST_CASE("rows and activations of more than one panel, chunk and group of tiles: the scalar variant's bits") {
  Skips skips;
  for (const Layout& layout : multiplied_layouts()) {
    const std::int64_t block = quant::type_info(layout.dtype).block_elements;
    // Panels of 8 blocks of 256 or 64 of 32, chunks of 128 activations, groups of 16 tiles and then 4 + 2 + 1, the last
    // one partial.
    const std::int64_t n_in = 11 * 256 + (block == 32 ? 64 : 0), n_out = 23 * 16 - 5, n_acts = 131, n_checked = 24;
    const tests::Product product(layout.dtype, n_in, n_out, n_acts, 17, tests::Factors::kExtreme);
    const std::vector<float> want =
        product.run(scalar_variant(layout.dtype), n_checked, true);  // of scattered activations
    for (const MatmulKernel& variant : cpu::gemm_kernels()) {
      if (variant.dtype != layout.dtype || variant.match != cpu::Match::kExact || variant.isa == Isa::kScalar) continue;
      if (skips.skip(variant)) continue;
      const std::vector<float> got = product.run(variant, n_acts, false);
      for (std::int64_t i = 0; i < n_checked; ++i) {
        const float *wanted = want.data() + i * n_out, *row = got.data() + product.act_row(i, true) * n_out;
        CHECK_MESSAGE(tests::same_bits(row, wanted, static_cast<std::size_t>(n_out)), variant.name, " activation ",
                      product.act_row(i, true));
      }
    }
  }
}

TEST_CASE("a row's result does not depend on its companions") {
  for (const Layout& layout : multiplied_layouts()) {
    const cpu::MatmulChoice choice = cpu::select_matmul(layout.dtype, cpu::host_isa());
    const std::int64_t n_in = std::max<std::int64_t>(quant::type_info(layout.dtype).block_elements, 32) * 2;
    const tests::Product product(layout.dtype, n_in, 40, 20, 3);
    const std::vector<float> one = product.run(*choice.gemv, 1, false), many = product.run(*choice.gemm, 20, false);
    CHECK_MESSAGE(std::memcmp(one.data(), many.data(), one.size() * sizeof(float)) == 0, choice.gemm->name);
  }
}

TEST_CASE("oneDNN variants: close to the scalar variant, and a row alone gives what it gives in company, in any team") {
  Skips skips;
  for (const MatmulKernel& variant : cpu::gemm_kernels()) {
    if (variant.match != cpu::Match::kTolerance || skips.skip(variant)) continue;
    const std::int64_t n_in = 600, n_out = 300, n_acts = 270;  // more than one of everything that is cut up
    const tests::Product product(variant.dtype, n_in, n_out, n_acts, 5);
    std::vector<float> got, again;
    const auto in_team = [&](int size, std::vector<float>& out) {
      cpu::Team team(size);
      std::vector<std::vector<float>> parts(static_cast<std::size_t>(size));
      team.run([&](const cpu::Member& member) {
        const cpu::Range range = member.part(product.n_tiles());
        parts[static_cast<std::size_t>(member.index)] = product.run(variant, n_acts, false, range.begin, range.end);
      });
      out = parts[0];
      for (int i = 1; i < size; ++i) {
        const std::int64_t begin = cpu::part_of(product.n_tiles(), 1, i, size).begin * cpu::kTileRows;
        for (std::int64_t act = 0; act < n_acts; ++act) {
          for (std::int64_t r = begin; r < n_out; ++r) {
            out[static_cast<std::size_t>(act * n_out + r)] =
                parts[static_cast<std::size_t>(i)][static_cast<std::size_t>(act * n_out + r)];
          }
        }
      }
    };
    in_team(1, got);
    in_team(2, again);
    CHECK(same_bits(got, again));
    std::vector<float> alone;
    cpu::Team(1).run([&](const cpu::Member&) { alone = product.run(variant, 4, true); });  // rows 3, 10, 17, 24
    for (std::int64_t i = 0; i < 4; ++i) {
      CHECK(tests::same_bits(&alone[static_cast<std::size_t>(i * n_out)],
                             &got[static_cast<std::size_t>(product.act_row(i, true) * n_out)],
                             static_cast<std::size_t>(n_out)));
    }
    // Activations rounded to the weights' precision (half a unit of 8 bits for BF16), then n_in roundings of sums.
    const double rounding = (variant.dtype == DType::kBF16 ? 0x1p-9 : 0.0) + static_cast<double>(2 * n_in) * 0x1p-24;
    const std::vector<float> want = product.run(scalar_variant(variant.dtype), n_acts, false);
    std::vector<float> w(static_cast<std::size_t>(n_in));
    for (std::int64_t r = 0; r < n_out; ++r) {
      quant::decode_row(variant.dtype,
                        product.rows.data() + static_cast<std::size_t>(r) * *quant::row_bytes(variant.dtype, n_in),
                        w.data(), n_in);
      for (std::int64_t i = 0; i < n_acts; i += 13) {
        const std::vector<float> x = product.dequantized_act(i);
        double magnitude = 0;
        for (std::size_t k = 0; k < x.size(); ++k) magnitude += std::fabs(static_cast<double>(w[k]) * x[k]);
        const std::size_t at = static_cast<std::size_t>(i * n_out + r);
        CHECK_MESSAGE(std::fabs(got[at] - want[at]) <= rounding * magnitude, variant.name, " row ", r, " activation ",
                      i);
      }
    }
  }
}

TEST_CASE("selection") {
  for (const Layout& layout : multiplied_layouts()) {
    for (Isa isa : cpu::built_isas()) {
      const cpu::MatmulChoice choice = cpu::select_matmul(layout.dtype, isa);
      REQUIRE(choice.gemv != nullptr);
      REQUIRE(choice.gemm != nullptr);
      CHECK(isa.has(choice.gemv->isa));
      CHECK(isa.has(choice.gemm->isa));
      CHECK(choice.gemm->match == cpu::Match::kExact);
    }
  }
  const auto gemv = [](DType dtype, Isa isa) { return cpu::select_matmul(dtype, isa).gemv->name; };
  const auto gemm = [](DType dtype, Isa isa, cpu::FloatGemm who = cpu::FloatGemm::kOwn) {
    return cpu::select_matmul(dtype, isa, who).gemm->name;
  };
  CHECK(gemv(DType::kQ2_K, Isa::kScalar) == "gemv_q2_k_scalar");
  CHECK(gemm(DType::kTQ2_0, Isa::kAvx512Bf16) == "gemm_tq2_0_scalar");
#ifndef DODECA_SCALAR_ONLY
  CHECK(gemv(DType::kQ2_K, Isa::kAvx2) == "gemv_q2_k_avx2");
  CHECK(gemv(DType::kQ2_K, Isa::kAvx512) == "gemv_q2_k_avx2");
  CHECK(gemv(DType::kQ2_K, Isa::kAvx512Bf16) == "gemv_q2_k_avx512_vnni");
  CHECK(gemm(DType::kQ3_K, Isa::kAvx512Vnni) == "gemm_q3_k_avx512_vnni");
  CHECK(gemv(DType::kIQ1_M, Isa::kAvx512Bf16) == "gemv_iq1_m_avx512_vnni");
  CHECK(gemm(DType::kIQ2_XXS, Isa::kAvx512) == "gemm_iq2_xxs_avx2");
  CHECK(gemm(DType::kF16, Isa::kAvx512Vnni) == "gemm_f16_avx512");
  CHECK(gemm(DType::kBF16, Isa::kAvx512Bf16) == "gemm_bf16_avx512");
  CHECK(gemm(DType::kBF16, Isa::kAvx512Bf16, cpu::FloatGemm::kOneDnn) == "gemm_bf16_onednn");
  CHECK(gemm(DType::kBF16, Isa::kAvx2, cpu::FloatGemm::kOneDnn) == "gemm_bf16_avx2");
  CHECK(gemm(DType::kF32, Isa::kAvx2, cpu::FloatGemm::kOneDnn) == "gemm_f32_onednn");
  CHECK(gemm(DType::kQ4_K, Isa::kAvx2, cpu::FloatGemm::kOneDnn) == "gemm_q4_k_avx2");
  const std::vector<std::string> refusals = cpu::select_matmul(DType::kQ4_K, Isa::kAvx2).refusals;
  CHECK(std::find(refusals.begin(), refusals.end(), "gemm_q4_k_avx512_vnni needs avx512_vnni, have avx2") !=
        refusals.end());
#endif
}
