// dodeca-bench --shape: opens random weights of a published shape, and when only some layers fit, measures what the
// extrapolation to the whole model needs beside the table's own times: the output matrix and the dense layers alone.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/report.hpp"
#include "bench/shapes.hpp"
#include "bench/throughput.hpp"

namespace dodeca::bench {

struct ShapeRequest {
  std::string shape, recipe = "ud-q2_k_xl";
  std::int64_t n_layers = 0, n_experts = 0;  // 0: the model's own
};

class ShapeRun {
 public:
  // Throws runtime::cli::Usage for impossible values.
  ShapeRun(const ShapeRequest& request, const runtime::cli::ModelOptions& model, const RunOptions& run,
           const runtime::cli::Console& console);

  // What tables and result files call it: "deepseek-v3 ud-q2_k_xl, 4 of 61 layers".
  const std::string& name() const { return name_; }
  Opener opener() const;
  // Not the whole model: results want probe() and complete().
  bool partial() const { return slice_.n_layers < whole_.n_layers; }
  // Times the parts for every test with a model of dense layers only, freed before returning.
  void probe(const std::vector<Test>& tests, const std::function<void(std::string_view)>& say);
  // Adds the extrapolation of tests[index] to its result.
  void complete(std::size_t index, Result& result) const;

 private:
  struct Parts {
    double output_ns = 0, dense_ns = 0;
  };
  runtime::Plan plan_of(const runtime::ModelConfig& part) const;
  runtime::predict::TokenWork work_of(const runtime::ModelConfig& part) const;
  std::string too_large(std::uint64_t extra_bytes) const;
  std::int64_t probe_layers() const;

  const runtime::cli::ModelOptions& model_;
  RunOptions run_;
  const runtime::cli::Console& console_;
  runtime::quantize::TypeChoice recipe_;
  runtime::ModelConfig whole_, slice_;
  std::string name_;
  runtime::PlanOptions plan_options_;
  std::vector<Parts> parts_;
};

}  // namespace dodeca::bench
