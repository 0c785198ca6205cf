// The weights of a checkpoint with packed 4-bit experts as a model: names, shapes, scales, rows.
#include "runtime/model/weight_source.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/support/int4_checkpoint.hpp"

namespace dodeca::tests {

void fuzz_hf_model(std::string_view bytes) {
  using namespace runtime;
  // A folder of its own: other targets look into the scratch folder for other files.
  static const std::filesystem::path folder = [] {
    std::filesystem::create_directories(scratch_folder() / "hf_model");
    return put_file("hf_model/config.json", int4_config(true).dump()).parent_path();
  }();
  put_file("hf_model/model.safetensors", bytes);
  const auto source = open_weights(folder, {}, [](Level, std::string_view) {});
  for (const WeightInfo& weight : source->weights()) {
    std::vector<float> rows(static_cast<std::size_t>(weight.n_in * weight.n_out));
    try {
      source->read_rows_f32(weight, weight.n_slices - 1, 0, weight.n_out, rows.data());
    } catch (const Error& error) {
      require(error.kind() == ErrorKind::kUnsupported, "only a scale may be wrong here");
    }
  }
}

std::vector<std::string> fuzz_hf_model_seeds() {
  return {int4_checkpoint(true).safetensors(), int4_checkpoint(false).safetensors()};
}

}  // namespace dodeca::tests
