// Who answers which unit of a batch: decided among processes on many machines by nothing but names of files in a folder
// that they share.
//
// A unit is claimed by making its file claim-1, which one process succeeds in. What it claims stays its own until it
// leaves, has ended, or its count (worker.hpp) has stood still for a time by the clock of whoever watches; then the
// unit is claimed anew as claim-2, which again one succeeds in. A worker that only slept goes on and is not told: it
// works in a file of its own generation, and of all who finish a unit the first counts. So a wrong guess costs work, and
// never a line twice. Claims are not removed before the run is over: what was seen once stays true, and a listing that
// is old only makes the next add_name() fail.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/log.hpp"
#include "runtime/batch/run_folder.hpp"
#include "runtime/batch/worker.hpp"

namespace dodeca::runtime::batch {

struct ClaimRules {
  // A worker whose count stands still for so long, and for four of its intervals, is taken for gone.
  std::chrono::milliseconds takeover{60000};
  std::function<std::chrono::steady_clock::time_point()> now = [] { return std::chrono::steady_clock::now(); };
  std::function<bool(const WorkerIdentity&)> ended = has_ended;
};

class Claims {
 public:
  // Of units 0 to n_units - 1, and of the merging, which is claimed as a unit is but never done.
  Claims(const RunFolder& folder, std::int64_t n_units, WorkerIdentity self, ClaimRules rules, Log log);

  // Reads the folder and the counts of all who have claims. Time counts from one look to the next.
  void look();
  bool done(std::int64_t unit) const { return units_[unit].done; }
  std::int64_t n_done() const { return n_done_; }
  bool all_done() const { return n_done_ == merging(); }
  std::int64_t merging() const { return std::ssize(units_) - 1; }  // as a unit
  bool claimed(std::int64_t unit) const { return units_[unit].generation > 0; }
  // The unit is this worker's from now on, under the generation returned; nullopt when it is done or another has it.
  // Error{kBadFile} when it was claimed kMaxGenerations times.
  std::optional<std::int64_t> claim(std::int64_t unit);
  // Whether another took it over, or finished it, as far as was seen.
  bool lost(std::int64_t unit, std::int64_t generation) const {
    return units_[unit].done || units_[unit].generation > generation;
  }
  void note_done(std::int64_t unit);

 private:
  struct Unit {
    std::int64_t generation = 0;
    bool done = false;
    std::string owner;  // token; empty: not read yet
  };
  struct Watched {
    std::string text;  // of its file
    std::chrono::steady_clock::time_point looked;
    std::chrono::steady_clock::duration still{0};  // for which the text has not changed
    std::optional<WorkerSign> sign;
    bool gone = false;
  };
  void watch(const std::string& token, Watched& worker);
  void judge(Watched& worker) const;
  void note_generation(std::int64_t unit, std::int64_t generation);
  void read_owner(std::int64_t unit);
  bool abandoned(std::int64_t unit);

  const RunFolder folder_;
  const WorkerIdentity self_;
  const ClaimRules rules_;
  const Log log_;
  std::vector<Unit> units_;
  std::int64_t n_done_ = 0;
  std::map<std::string, Watched> workers_;
};

}  // namespace dodeca::runtime::batch
