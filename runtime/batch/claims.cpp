#include "runtime/batch/claims.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "runtime/base/error.hpp"
#include "runtime/base/output_file.hpp"

namespace dodeca::runtime::batch {
namespace {

constexpr int kLooks = 4;      // as many at the least find a count unchanged before its worker is taken for gone
constexpr int kIntervals = 4;  // of its own

}  // namespace

Claims::Claims(const RunFolder& folder, std::int64_t n_units, WorkerIdentity self, ClaimRules rules, Log log)
    : folder_(folder),
      self_(std::move(self)),
      rules_(std::move(rules)),
      log_(std::move(log)),
      units_(static_cast<std::size_t>(n_units) + 1) {}

void Claims::note_done(std::int64_t unit) {
  if (!std::exchange(units_[unit].done, true)) ++n_done_;
}

void Claims::note_generation(std::int64_t unit, std::int64_t generation) {
  if (generation <= units_[unit].generation) return;
  units_[unit].generation = generation;
  units_[unit].owner.clear();
}

void Claims::look() {
  const std::vector<UnitFiles> files = folder_.list(std::ssize(units_));
  std::set<std::string_view> owners;  // of units that are not done
  for (std::int64_t unit = 0; unit < std::ssize(units_); ++unit) {
    if (files[unit].done && unit != merging()) note_done(unit);
    note_generation(unit, files[unit].generation);
    if (done(unit) || !claimed(unit)) continue;
    read_owner(unit);
    owners.insert(units_[unit].owner);
  }
  std::erase_if(workers_, [&](const auto& worker) { return !owners.contains(worker.first); });
  for (auto& [token, worker] : workers_) watch(token, worker);
}

// An owner that cannot be read is one whose count stands still.
void Claims::read_owner(std::int64_t unit) {
  std::string& owner = units_[unit].owner;
  if (owner.empty()) {
    owner = read_small_file(folder_.claim(unit, units_[unit].generation));
    if (owner.ends_with('\n')) owner.pop_back();
  }
  if (owner == self_.token || workers_.contains(owner)) return;
  Watched& worker = workers_[owner];
  worker.text = read_small_file(folder_.worker(owner));
  worker.looked = rules_.now();
  worker.sign = parse_worker(worker.text);
  judge(worker);
}

void Claims::judge(Watched& worker) const {
  const std::chrono::milliseconds patience =
      std::max(rules_.takeover, worker.sign ? kIntervals * worker.sign->interval : std::chrono::milliseconds(0));
  worker.gone = worker.still >= patience || (worker.sign && (worker.sign->left || rules_.ended(worker.sign->identity)));
}

// One look adds no more than a part of the time: when this worker slept, or the storage stood still for all, the others
// get the chance to count on.
void Claims::watch(const std::string& token, Watched& worker) {
  std::string text = read_small_file(folder_.worker(token));
  const auto now = rules_.now();
  const auto passed = now - std::exchange(worker.looked, now);
  if (text == worker.text) {
    worker.still += std::min<std::chrono::steady_clock::duration>(passed, rules_.takeover / kLooks);
  } else {
    worker.still = {};
    worker.text = std::move(text);
    worker.sign = parse_worker(worker.text);
  }
  judge(worker);
}

bool Claims::abandoned(std::int64_t unit) {
  read_owner(unit);
  const auto found = workers_.find(units_[unit].owner);
  return found != workers_.end() && found->second.gone;
}

std::optional<std::int64_t> Claims::claim(std::int64_t unit) {
  if (done(unit)) return std::nullopt;
  const bool taking_over = claimed(unit);
  if (taking_over && !abandoned(unit)) return std::nullopt;
  if (units_[unit].generation >= kMaxGenerations)
    throw Error(ErrorKind::kBadFile, fmt::format("unit {} in {} was taken over {} times and is not done", unit,
                                                 folder_.path().string(), kMaxGenerations))
        .with(Remedy::kRemoveResults);
  if (taking_over) {
    const std::optional<WorkerSign>& sign = workers_[units_[unit].owner].sign;
    log_(Level::kDetail, fmt::format("unit {} is taken over from {}", unit, sign ? sign->identity.text() : "a worker"));
  }
  const std::int64_t generation = units_[unit].generation + 1;
  const std::string text = self_.token + "\n";
  OutputFile file(folder_.claim(unit, generation), text.size(), OutputFile::Links::kReplace);
  file.append(text.data(), text.size());
  const bool ours = file.finish_new();
  note_generation(unit, generation);
  if (!ours) return std::nullopt;
  units_[unit].owner = self_.token;
  return generation;
}

}  // namespace dodeca::runtime::batch
