// Loading a model as the flags ask: shows progress, and says the facts in one line each.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "runtime/cli/model_options.hpp"
#include "runtime/engine/energy_meter.hpp"
#include "runtime/engine/session.hpp"

namespace dodeca::runtime::cli {

// What a command on a model works with.
struct LoadedModel {
  std::unique_ptr<engine::Session> session;
  std::int64_t context = 0;  // positions per sequence
  double load_seconds = 0;
  std::unique_ptr<engine::EnergyMeter> energy;  // from when all was loaded
  const cluster::Cluster* cluster = nullptr;    // as ModelOptions

  const ModelConfig& config() const { return session->config(); }
};

// What a command needs besides the model.
struct CommandNeeds {
  std::int32_t n_sequences = 1;
  std::int64_t n_positions = 0;   // over all sequences; 0: n_sequences times the context
  std::uint64_t extra_bytes = 0;  // of memory that the command itself will ask for
};
// Opens and loads (engine/session.hpp), says the facts. `needs` is asked once plan and context are known.
LoadedModel load_model(const ModelOptions& options, const Console& console,
                       const std::function<CommandNeeds(const Plan& plan, std::int64_t context)>& needs);
// Of ranks above 0: loads their part and does what rank 0 tells. Returns the exit code.
int follow_rank_0(const ModelOptions& options, const Console& console,
                  const std::function<CommandNeeds(const Plan& plan, std::int64_t context)>& needs);

}  // namespace dodeca::runtime::cli
