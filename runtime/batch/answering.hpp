// From a line of the input to its result line: the line is read, handed to the engine, and what that generates written
// in OpenAI's form.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "runtime/batch/batch.hpp"
#include "runtime/batch/input_index.hpp"
#include "runtime/engine/engine.hpp"

namespace dodeca::runtime::batch {

class Answering {
 public:
  // created: the time that stands in every result. Options and input must outlive it.
  Answering(const BatchOptions& options, const InputIndex& input, std::int64_t created)
      : options_(options), input_(input), created_(created) {}

  // The line's answer: a result, or an error (refused), with its newline. Called once for each line, unless the engine is
  // told to cancel the request.
  using OnAnswer = std::function<void(const std::string& line, bool refused)>;
  // Hands one line to the engine, whose step() then answers; or answers at once with an error, and nullopt.
  std::optional<engine::RequestId> submit(engine::Engine& engine, const BatchText& text, const InputLine& line,
                                          const OnAnswer& on_answer) const;

 private:
  const BatchOptions& options_;
  const InputIndex& input_;
  const std::int64_t created_;
};

// What became of a line: the engine answers it, it is answered already, or there was none.
enum class Submitted { kToEngine, kAnswered, kNone };
// Submits lines until one more than run at once is queued, so that a place never waits. `settled` is called after each
// line that is answered already; fill() stops, and returns false, when that does.
bool fill(engine::Engine& engine, std::int64_t n_parallel, const std::function<Submitted()>& submit_next,
          const std::function<bool()>& settled);

// A step of the engine, and whether it has more to do. False where somebody stopped its pass.
bool step_unless_stopped(engine::Engine& engine, bool& working);

}  // namespace dodeca::runtime::batch
