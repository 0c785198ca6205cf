#include "runtime/batch/state.hpp"

#include <fmt/core.h>

#include <ctime>
#include <nlohmann/json.hpp>
#include <system_error>

#include "runtime/base/file_roles.hpp"
#include "runtime/base/folder.hpp"
#include "runtime/load/json.hpp"

namespace dodeca::runtime::batch {
namespace {

constexpr int kVersion = 3;

std::string text_of(const State& state) {
  Json json = {{"dodeca_batch", kVersion},
               {"input", state.input},
               {"model", state.model},
               {"sampling", state.sampling},
               {"prompts", state.prompts},
               {"contents", state.contents},
               {"stamp", state.stamp},
               {"created", state.created},
               {"restarting", state.restarting},
               {"synced_results", state.synced_results},
               {"synced_errors", state.synced_errors}};
  if (const auto& shared = state.shared)
    json["shared"] = {{"run", shared->run},
                      {"unit_requests", shared->unit_requests},
                      {"merged", shared->merged},
                      {"completed", shared->counts.completed},
                      {"failed", shared->counts.failed},
                      {"total", shared->counts.total}};
  return json.dump() + "\n";
}

std::optional<SharedRun> shared_of(const Json& json) {
  const auto found = json.find("shared");
  if (found == json.end()) return std::nullopt;
  SharedRun shared{found->at("run"), found->at("unit_requests"), found->at("merged"), {}};
  if (shared.unit_requests < 1) throw Error(ErrorKind::kBadFile, "a unit of no requests");
  shared.counts.completed = found->at("completed");
  shared.counts.failed = found->at("failed");
  shared.counts.total = found->at("total");
  return shared;
}

std::string sampling_text(const BatchOptions& options) {
  const SamplerOptions& s = options.sampling;
  return fmt::format("temp {} top-k {} top-p {} min-p {} repeat {} over {} frequency {} presence {} seed {} tokens {}",
                     s.temperature, s.top_k, s.top_p, s.min_p, s.repeat_penalty, s.repeat_last_n, s.frequency_penalty,
                     s.presence_penalty, s.seed, options.max_tokens);
}

}  // namespace

std::filesystem::path state_path(const std::filesystem::path& output) { return output.string() + ".state"; }

State new_state(const InputIndex& input, const BatchOptions& options) {
  State state;
  state.input = fmt::format("{:016x}", input.fingerprint());
  state.model = options.model_identity;
  state.sampling = sampling_text(options);
  state.prompts = options.prompt_making;
  state.created = static_cast<std::int64_t>(std::time(nullptr));
  return state;
}

std::optional<State> read_state(const std::filesystem::path& path, Remedy remedy) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  const auto damaged = [&] {
    return Error(ErrorKind::kBadFile, fmt::format("{} is not the state of a batch", path.string())).with(remedy);
  };
  try {
    const Json json = read_json(path, 1u << 20);
    if (json.at("dodeca_batch") != kVersion)
      throw Error(ErrorKind::kUnsupported, fmt::format("{} is of another version of dodeca", path.string()))
          .with(remedy);
    return State{json.at("input"),          json.at("model"),         json.at("sampling"), json.at("prompts"),
                 json.at("contents"),       json.at("stamp"),         json.at("created"),  json.at("restarting"),
                 json.at("synced_results"), json.at("synced_errors"), shared_of(json)};
  } catch (const Json::exception&) {
    throw damaged();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kBadFile) throw damaged();
    throw;
  }
}

std::optional<SharedRun> shared_run_of(const std::filesystem::path& path) try {
  const std::optional<State> state = read_state(path, Remedy::kNone);
  return state ? state->shared : std::nullopt;
} catch (const Error&) {
  return std::nullopt;
}

void write_state(const std::filesystem::path& path, const State& state) {
  OutputFile file(path, 0, OutputFile::Links::kReplace);
  finish_state(file, state);
}

void finish_state(OutputFile& file, const State& state) {
  const std::string text = text_of(state);
  file.append(text.data(), text.size());
  file.finish();
}

bool create_state(const std::filesystem::path& path, const State& state) {
  const std::string text = text_of(state);
  OutputFile file(path, text.size(), OutputFile::Links::kReplace);
  file.append(text.data(), text.size());
  return file.finish_new();
}

void remove_leftovers(const std::filesystem::path& path) {
  std::error_code ignored;
  for (const auto& leftover : numbered_files(behind_links(path), kTemporaryTail))
    std::filesystem::remove(leftover, ignored);
}

void require_no_results(const BatchOptions& options, Remedy remedy) {
  std::error_code none;
  for (const std::filesystem::path& file : {options.output, options.errors})
    if (const auto size = std::filesystem::file_size(file, none); !none && size > 0)
      throw Error(ErrorKind::kBadRequest,
                  fmt::format("{} has {} bytes but there is no {}: they are not of an interrupted run", file.string(),
                              size, state_path(options.output).string()))
          .with(remedy);
}

void require_same_run(const State& old, const State& now, const BatchOptions& options, Remedy remedy) {
  const auto refuse = [&](std::string_view what) {
    throw Error(ErrorKind::kBadRequest,
                fmt::format("{} since {} was begun: resuming would mix results", what, options.output.string()))
        .with(remedy);
  };
  if (old.input != now.input) refuse(fmt::format("the input {} has changed", options.input.string()));
  if (old.model != now.model) refuse("the model, or an option that changes its numbers, has changed");
  if (old.sampling != now.sampling)
    refuse(fmt::format("the sampling defaults have changed ({} then, {} now)", old.sampling, now.sampling));
  if (old.prompts != now.prompts)
    refuse(fmt::format("the making of prompts has changed ({} then, {} now)", old.prompts, now.prompts));
}

}  // namespace dodeca::runtime::batch
