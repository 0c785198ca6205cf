#include "runtime/weights/model.hpp"

#include <fmt/core.h>

#include "runtime/base/bytes.hpp"
#include "runtime/weights/loader.hpp"
#include "runtime/weights/pooled.hpp"
#include "runtime/weights/self_test.hpp"

namespace dodeca::runtime {
namespace {

void check_memory(const Plan& plan, std::uint64_t extra_bytes) {
  const std::uint64_t weights = bytes_beside_pools(plan), pooled = plan.bytes_here() - weights,
                      need = weights + extra_bytes, have = cpu::available_memory_bytes();
  if (need <= have) return;
  throw Error(ErrorKind::kDoesNotFit,
              fmt::format("the model needs {:.2f} GiB of memory (weights {:.2f}{}, cache and work space {:.2f}), "
                          "{:.2f} GiB are free (running from disk is not offered yet)",
                          gib(need), gib(weights),
                          pooled == 0 ? "" : fmt::format(" beside {:.2f} in pools of huge pages", gib(pooled)),
                          gib(extra_bytes), gib(have)))
      .with(Remedy::kSmallerModel);
}

// Where page cache and weights together are more than there is, every page of the file would push out another: then it
// does not stay. Otherwise it does, and the next start is a fast one.
bool keep_files_out_of_memory(const WeightSource& source, const Plan& plan, const Log& log) {
  std::uint64_t bytes = 0;
  for (const InputFile& file : source.files()) bytes += file.size();
  const std::uint64_t have = cpu::available_memory_bytes();
  if (bytes + plan.bytes_here() <= have) return false;
  for (const InputFile& file : source.files()) file.drop_behind();
  log(Level::kDetail, fmt::format("file pages are dropped once they are read: {:.2f} GiB of files and {:.2f} GiB of "
                                  "weights do not fit into {:.2f} GiB",
                                  gib(bytes), gib(plan.bytes_here()), gib(have)));
  return true;
}

}  // namespace

std::unique_ptr<Model> Model::load(const WeightSource& source, Plan plan, cpu::Team& team, const LoadOptions& options,
                                   const Log& log) {
  if (options.check_memory) check_memory(plan, options.extra_bytes);
  self_test(plan);
  for (const std::string& fact : kernel_facts(plan)) log(Level::kDetail, "kernels of " + fact);
  if (!source.mtp_weights().empty() && !plan.options.mtp) {
    const std::int64_t n = plan.config.n_mtp_layers;
    log(Level::kDetail, fmt::format("{} multi-token-prediction layer{} in the file, not loaded", n, n == 1 ? "" : "s"));
  }
  std::unique_ptr<Model> model(new Model(std::move(plan)));
  for (const InputFile& file : source.files()) file.read_ahead();
  const bool drops = keep_files_out_of_memory(source, model->plan_, log);
  model->weights_.reserve(model->plan_, log);
  Loader loader(source, model->plan_, team, options.progress);
  PlacedSum main_layers;
  for (const WeightPlan& weight : model->plan_.weights) {
    loader.load(weight, model->weights_);
    if (options.take) options.take(weight, model->weights_);
    if (weight.place == Place::kDevice) model->weights_.drop(weight.id);
    // Drafts change no text: with and without their layers it is the same model.
    if (weight.id.layer < source.config().n_layers) main_layers = loader.contents();
  }
  for (const InputFile& file : source.files()) {
    if (drops) file.drop_all();
  }
  model->contents_ = (options.complete ? options.complete(main_layers) : main_layers).value();
  return model;
}

std::unique_ptr<Model> Model::without_weights(Plan plan) {
  std::unique_ptr<Model> model(new Model(std::move(plan)));
  for (const WeightPlan& weight : model->plan_.weights) {
    if (weight.layout != nullptr) model->weights_.add(weight.id, unplaced(weight));
  }
  return model;
}

}  // namespace dodeca::runtime
