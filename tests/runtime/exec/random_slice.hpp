// Small models as wide as published ones.
#pragma once

#include <memory>

#include "runtime/model/random_source.hpp"
#include "runtime/model/shapes.hpp"

namespace dodeca::tests {

// Two layers of a published shape, one of them dense, with few experts and a short vocabulary.
inline runtime::ModelConfig slice_of(const char* shape) {
  runtime::ModelConfig c = runtime::published_shape(shape);
  runtime::set_layers(c, 1, 1);
  c.vocab_size = 512;
  c.n_routed_experts = 8;
  c.n_experts_per_tok = 3;
  c.n_group = c.topk_group = 1;
  return c;
}

// A random model of a slice in types whose blocks fit its rows.
inline std::unique_ptr<runtime::WeightSource> random_slice(const runtime::ModelConfig& c) {
  using quant::DType;
  using runtime::WeightRole;
  return runtime::random_weights(
      c,
      [](const runtime::WantedWeight& w) {
        if (w.id.role == WeightRole::kRouter) return DType::kF32;
        const DType wanted = w.id.role == WeightRole::kExpertDown ? DType::kQ3_K
                             : runtime::is_routed(w.id.role)      ? DType::kQ2_K
                                                                  : DType::kQ4_K;
        return w.n_in % 256 == 0 ? wanted : DType::kQ5_0;
      },
      7);
}

}  // namespace dodeca::tests
