// Answers a file of requests through an engine and loses nothing: results and errors are appended line by line, each
// request once, whatever stops the process; the same call goes on where the files end. Beside the results lies
// PATH.state, which says what input and model they belong to.
//
// With BatchOptions::shard several processes, on machines that share the folder, answer one file together
// (shared_batch.hpp).
//
// Every line's ids derive from its custom_id and `created` is the time of the first start, so that an interrupted run
// and an uninterrupted one differ in no line but for that time.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/file_roles.hpp"
#include "runtime/base/log.hpp"
#include "runtime/batch/request.hpp"
#include "runtime/engine/engine.hpp"

namespace dodeca::runtime::batch {

// The model as a batch sees it.
struct BatchText {
  std::function<std::vector<std::int32_t>(const std::string& text)> encode;  // raw text, BOS as the model says
  // An Error{kBadRequest} or Error{kUnsupported} is of this conversation, and its answer.
  std::function<std::vector<std::int32_t>(std::span<const ChatMessage>)> encode_chat;
  std::function<std::string(std::int32_t)> piece;
};

// One of several processes that answer a batch together.
struct Shard {
  std::int64_t index = 0, count = 1;          // the share that it begins with, from 0
  std::chrono::milliseconds takeover{60000};  // a process without a sign of life for so long loses its work to others
};

struct BatchOptions {
  std::filesystem::path input, output, errors;
  bool restart = false;          // begin anew whatever the files hold
  SamplerOptions sampling;       // for what a request does not name
  std::int64_t max_tokens = -1;  // likewise; -1: completions 16, as OpenAI has it, chats until their end
  std::string prompt_making;     // what else decides on a request's tokens, in words: template, context
  std::int32_t n_parallel = 1;
  std::string model_name;      // for requests that name none
  std::string model_identity;  // what must not change between runs of one output, as far as it is known before loading
  std::string model_stamp;     // the same one: nobody touched the model's files since
  std::chrono::milliseconds sync_interval{500};
  std::optional<Shard> shard;  // not with restart
};

struct BatchCounts {
  std::int64_t total = 0;      // requests of the input
  std::int64_t completed = 0;  // in the results file, durably
  std::int64_t failed = 0;     // in the errors file, durably
  std::int64_t resumed = 0;    // of both, found at the start
  std::int64_t done() const { return completed + failed; }
};

// "out.jsonl" -> "out.errors.jsonl".
std::filesystem::path default_errors_path(const std::filesystem::path& output);
// What a batch reads and writes, under the names of its options: -i, -o, --errors, and the state beside the results.
FileRoles batch_files(const BatchOptions& options);

// A batch under way, answered by this process alone or by several.
class AnyBatch {
 public:
  virtual ~AnyBatch() = default;
  virtual const BatchCounts& counts() const = 0;
  // Every request is answered; conclude() has what then remains.
  virtual bool finished() const = 0;
  // The model's files are those, untouched, that the results were made with.
  virtual bool model_untouched() const = 0;
  // The checksum of the weights that were loaded, before anything is answered with them. Error{kBadRequest} when the
  // results that are there were made with others.
  virtual void confirm_model(const std::string& contents) = 0;

  // Works through what is left. `progress` is called after every step; when it returns false, what is complete is
  // synced and Stopped is thrown.
  using Report = std::function<bool(const BatchCounts&)>;
  virtual void run(engine::Engine& engine, const BatchText& text, const Report& progress) = 0;
  virtual void conclude(const Report& progress) = 0;
};

// Reads the input, opens and recovers the output. Throws Error, before anything is changed, for duplicate custom_ids,
// a changed input or model, files of another run or in use, and files that batch_files() does not allow. What earlier
// runs answered is synced before it counts.
std::unique_ptr<AnyBatch> open_batch(const BatchOptions& options, const Log& log);

// Of one process: it locks its files.
class Batch final : public AnyBatch {
 public:
  Batch(const BatchOptions& options, const Log& log);
  ~Batch() override;
  const BatchCounts& counts() const override;
  bool finished() const override { return counts().done() == counts().total; }
  bool model_untouched() const override;
  void confirm_model(const std::string& contents) override;
  void run(engine::Engine& engine, const BatchText& text, const Report& progress) override;
  void conclude(const Report&) override {}

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dodeca::runtime::batch
