#include "runtime/model/hf_checkpoint.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <functional>

#include "runtime/model/weight_source.hpp"
#include "tests/support/int4_checkpoint.hpp"
#include "tests/support/temp_dir.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::runtime;
using namespace dodeca::tests;
using quant::DType;

const std::string kExpert = "model.layers.1.mlp.experts.1.down_proj.weight";

template <class T>
T number_at(const std::string& bytes, std::int64_t index) {
  T value;
  std::memcpy(&value, bytes.data() + static_cast<std::size_t>(index) * sizeof value, sizeof value);
  return value;
}

// Weight [row, column] by the definition of the format.
float defined(TinyCheckpoint& checkpoint, const std::string& name, std::int64_t row, std::int64_t column) {
  const TinyCheckpoint::Tensor &words = checkpoint.at(name + "_packed"), &scales = checkpoint.at(name + "_scale");
  const auto word = number_at<std::uint32_t>(words.bytes, row * words.shape[1] + column / 8);
  const auto scale = number_at<std::uint16_t>(scales.bytes, row * scales.shape[1] + column / 32);
  return (static_cast<float>((word >> (4 * (column % 8))) & 15) - 8.0f) * quant::bf16_to_f32(scale);
}

TEST_CASE("packed experts are Q4_0 with the values that their definition gives, also inside a model for images") {
  for (const bool wrapped : {false, true}) {
    for (const unsigned seed : {1u, 2u, 3u}) {
      TinyCheckpoint checkpoint = int4_checkpoint(wrapped, seed);
      const TempDir dir;
      checkpoint.write(dir.path(), int4_config(wrapped));
      std::string said;
      const auto source =
          open_weights(dir.path(), {}, [&](Level, std::string_view line) { said += std::string(line) + "\n"; });
      for (const WantedWeight& wanted : wanted_weights(source->config(), false)) {
        const WeightInfo* weight = source->find(wanted.name);
        REQUIRE(weight != nullptr);
        CHECK(weight->dtype == (wanted.slicing == Slicing::kExperts ? DType::kQ4_0 : DType::kBF16));
        if (wanted.slicing != Slicing::kExperts) continue;
        for (std::int64_t expert = 0; expert < wanted.n_slices; ++expert) {
          const std::string name =
              (wrapped ? "language_model." : "") + fmt::format(fmt::runtime(wanted.hf_name), expert);
          std::vector<float> values(static_cast<std::size_t>((wanted.n_out - 1) * wanted.n_in));
          source->read_rows_f32(*weight, expert, 1, wanted.n_out, values.data());
          std::int64_t n_different = 0;
          for (std::int64_t i = 0; i < std::ssize(values); ++i)
            n_different +=
                values[static_cast<std::size_t>(i)] != defined(checkpoint, name, 1 + i / wanted.n_in, i % wanted.n_in);
          CHECK(n_different == 0);
        }
      }
      CHECK(source->unused().size() == (wrapped ? 2 : 0));
      CHECK((said.find("2 (mm_projector.proj.0.weight, vision_tower.patch_embed.proj.weight) of the part for images") !=
             std::string::npos) == wrapped);
    }
  }
}

TEST_CASE("any matrix may be packed, and what is transposed becomes F32") {
  TinyCheckpoint checkpoint = int4_checkpoint(false);
  const std::string name = "model.layers.0.self_attn.kv_b_proj.weight";
  checkpoint.drop(name);
  std::mt19937 random(5);
  checkpoint.add(name + "_packed", "I32", {128, 4}, random_bytes(random, 128 * 4, random_word));
  checkpoint.add(name + "_scale", "BF16", {128, 1}, random_bytes(random, 128, random_scale));
  const TempDir dir;
  checkpoint.write(dir.path(), int4_config(false));
  const auto source = open_weights(dir.path(), {}, [](Level, std::string_view) {});
  const WeightInfo *key = source->find("blk.0.attn_k_b.weight"), *value = source->find("blk.0.attn_v_b.weight");
  CHECK(key->dtype == DType::kF32);
  CHECK(value->dtype == DType::kQ4_0);
  std::vector<float> row(32);
  for (std::int64_t head = 0; head < 2; ++head) {
    source->read_rows_f32(*key, head, 7, 8, row.data());
    for (std::int64_t d = 0; d < 32; ++d)
      CHECK(row[static_cast<std::size_t>(d)] == defined(checkpoint, name, 64 * head + d, 7));
    source->read_rows_f32(*value, head, 7, 8, row.data());
    for (std::int64_t l = 0; l < 32; ++l)
      CHECK(row[static_cast<std::size_t>(l)] == defined(checkpoint, name, 64 * head + 32 + 7, l));
  }
}

TEST_CASE("packed tensors that do not fit are refused by name") {
  const auto failure = [](const std::function<void(TinyCheckpoint&)>& change) -> std::string {
    TinyCheckpoint checkpoint = int4_checkpoint(false);
    change(checkpoint);
    const TempDir dir;
    checkpoint.write(dir.path(), int4_config(false));
    try {
      const auto source = open_weights(dir.path(), {}, [](Level, std::string_view) {});
      std::vector<float> values(64 * 32);
      source->read_rows_f32(*source->find("blk.1.ffn_down_exps.weight"), 1, 0, 64, values.data());
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const auto has = [](const std::string& text, std::string_view part) {
    INFO(text);
    CHECK(text.find(part) != std::string::npos);
  };
  CHECK(failure([](TinyCheckpoint&) {}) == "");
  CHECK(failure([](TinyCheckpoint& c) { c.drop(kExpert + "_shape"); }) == "");
  has(failure([](TinyCheckpoint& c) { c.drop(kExpert + "_scale"); }), kExpert + "_scale are missing");
  has(failure([](TinyCheckpoint& c) { c.drop(kExpert + "_packed"); }), "no tensor " + kExpert);
  has(failure([](TinyCheckpoint& c) { c.at(kExpert + "_packed").shape = {32, 8}; }), "here I32 [64, 4]");
  has(failure([](TinyCheckpoint& c) { c.at(kExpert + "_packed").dtype = "U32"; }), "is U32 [64, 4]");
  has(failure([](TinyCheckpoint& c) { c.at(kExpert + "_scale").shape = {32, 2}; }), "BF16 [32, 2]");
  has(failure([](TinyCheckpoint& c) { c.at(kExpert + "_scale").dtype = "I16"; }), "I16 [64, 1]");
  has(failure([](TinyCheckpoint& c) {
        c.add(kExpert + "_zero_point", "I32", {8, 1}, std::string(32, '\0'));
      }),
      "weight_zero_point");
  const std::uint16_t tiny = 0x3681;  // 1.0078125 * 2^-18: the last bit is below those of f16
  has(failure([&](TinyCheckpoint& c) { c.at(kExpert + "_scale").bytes.replace(2 * 5, 2, le(tiny)); }),
      "the scale 3.8444996e-06 at row 5, group 0 of " + kExpert + "_scale has no exact form as f16");
}

}  // namespace
