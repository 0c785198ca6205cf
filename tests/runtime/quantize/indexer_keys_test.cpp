// What a file of ours says of an indexer is what readers find in it.
#include <doctest/doctest.h>

#include "runtime/model/indexer_config.hpp"
#include "runtime/model/random_source.hpp"
#include "runtime/model/shapes.hpp"
#include "runtime/quantize/metadata.hpp"

namespace dodeca::runtime::quantize {

TEST_CASE("the keys of an indexer are read as they were written") {
  const Log silent = [](Level, std::string_view) {};
  for (const char* shape : {"glm-5", "glm-5.2", "deepseek-v3.2"}) {
    for (const std::int64_t context : {4096, 1 << 20}) {
      CAPTURE(shape);
      ModelConfig c = published_shape(shape);
      c.context_length = context;
      const auto source = random_weights(
          c, [](const WantedWeight&) { return quant::DType::kF32; }, 1);
      const Metadata metadata = output_metadata(*source, {}, silent);
      CHECK(metadata.string("general.architecture") == c.architecture);
      ModelConfig read = c;
      read.indexer = {};
      for (LayerConfig& layer : read.layers) layer.has_indexer = true;
      const FindMatrix find = [&](std::string_view name) -> std::optional<MatrixSize> {
        if (source->find(std::string(name)) == nullptr) return std::nullopt;
        return MatrixSize{1, 1};
      };
      read_indexer_gguf(metadata, find, {}, read, silent);
      CHECK(read.indexer == c.indexer);
      for (std::int64_t layer = 0; layer < c.n_layers; ++layer) CHECK(read.chooses(layer) == c.chooses(layer));
    }
  }
}

TEST_CASE("a rotation of the indexer that the architecture does not have cannot be written") {
  ModelConfig c = published_shape("glm-5");
  c.indexer.pairing = RopePairing::kHalves;
  const auto source = random_weights(
      c, [](const WantedWeight&) { return quant::DType::kF32; }, 1);
  CHECK_THROWS_WITH_AS(output_metadata(*source, {}, [](Level, std::string_view) {}),
                       doctest::Contains("the indexer rotates halves of a head"), Error);
}

}  // namespace dodeca::runtime::quantize
