// A batch that several processes answer together, on one machine or on many that share a folder; no one of them leads.
//
// The input is cut into units of consecutive requests. A worker claims units (claims.hpp), its own share first and then
// what others have not begun, answers each in a file of its own, and gives that file the unit's name when it is whole and
// synced, which one worker succeeds in. When all units are done one worker puts them together (merge.hpp), says so in
// OUTPUT.state, and removes the folder of the run (run_folder.hpp). Workers may be killed, sleep, come again and
// come late: what they do for a run that is over fails, since its folder is gone, and they see why in OUTPUT.state.
//
// Exactly one line for each request is in the end what plain names give: a unit has one file `done`, which never changes.
#pragma once

#include <memory>

#include "runtime/batch/batch.hpp"

namespace dodeca::runtime::batch {

// As Batch, with these differences: counts() has the units that all workers finished, refused requests among the
// completed ones until the results are merged. A finished batch is model_untouched(): only who adds results must have the
// same weights. run() and conclude() return when the results are merged, by whomever.
class SharedBatch final : public AnyBatch {
 public:
  // Joins the batch that OUTPUT.state tells of, or begins it. Error{kBadRequest} when that one has other requests, another
  // model or other options, or is answered by one process alone.
  SharedBatch(const BatchOptions& options, const Log& log);
  ~SharedBatch() override;
  const BatchCounts& counts() const override;
  bool finished() const override;
  bool model_untouched() const override { return true; }
  void confirm_model(const std::string& contents) override;
  void run(engine::Engine& engine, const BatchText& text, const Report& progress) override;
  void conclude(const Report& progress) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dodeca::runtime::batch
