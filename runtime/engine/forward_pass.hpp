// What the engine needs of a model: rows in, logits out, and a KV cache with sequences that can be cut and forked. The
// executor is one (ExecutorPass); tests bring a deterministic stand-in.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>

#include "cpu/team.hpp"
#include "runtime/exec/executor.hpp"
#include "runtime/exec/rows.hpp"

namespace dodeca::runtime::engine {

class ForwardPass {
 public:
  virtual ~ForwardPass() = default;
  virtual std::int64_t vocab_size() const = 0;
  virtual std::int32_t n_sequences() const = 0;
  // Cache room: blocks are this many positions, and this many positions are free, in whole blocks.
  virtual std::int64_t block_positions() const = 0;
  virtual std::int64_t free_positions() const = 0;
  virtual void truncate(std::int32_t sequence, std::int64_t n) = 0;
  // dst (emptied first) becomes the first n positions of src; a partial last block is copied, the others are shared.
  virtual void fork(std::int32_t src, std::int32_t dst, std::int64_t n) = 0;
  // Appends the rows to their sequences. prompt: some rows are prompt, not generation.
  virtual void forward(std::span<const exec::Row> rows, exec::ForwardOutput& out, bool prompt) = 0;
  // Of a model with a layer that drafts tokens (exec::Executor::draft): what goes in as hidden and comes out has
  // hidden_size() values a row. 0: it cannot draft.
  virtual std::int64_t hidden_size() const { return 0; }
  virtual void draft(std::span<const exec::Row>, std::span<const float>, exec::ForwardOutput&, bool) {}
  // Whose members may also sample from the logits of the last forward(); null: the caller alone.
  virtual cpu::Team* team() { return nullptr; }
  // Nothing is to be computed for now: threads that spin for the next forward() may sleep.
  virtual void rest() {}
};

class ExecutorPass final : public ForwardPass {
 public:
  // Passes with prompt rows run on prompt_team, the others on team. Between passes the members of the team that ran last
  // spin for 2 ms times `poll` (0 to 100), so that they are awake when a token has been sampled and shown; those of the
  // other team, and all after rest(), sleep soon.
  ExecutorPass(exec::Executor& executor, cpu::Team& team, cpu::Team& prompt_team, int poll);
  ~ExecutorPass() override { rest(); }
  ExecutorPass(const ExecutorPass&) = delete;
  ExecutorPass& operator=(const ExecutorPass&) = delete;
  std::int64_t vocab_size() const override;
  std::int32_t n_sequences() const override;
  std::int64_t block_positions() const override;
  std::int64_t free_positions() const override;
  void truncate(std::int32_t sequence, std::int64_t n) override;
  void fork(std::int32_t src, std::int32_t dst, std::int64_t n) override;
  void forward(std::span<const exec::Row> rows, exec::ForwardOutput& out, bool prompt) override;
  std::int64_t hidden_size() const override;
  void draft(std::span<const exec::Row> rows, std::span<const float> hidden, exec::ForwardOutput& out,
             bool prompt) override;
  cpu::Team* team() override;
  void rest() override;

 private:
  cpu::Team* wake(bool prompt);

  exec::Executor& executor_;
  cpu::Team& team_;
  cpu::Team& prompt_team_;
  cpu::Team* last_team_;
  std::chrono::microseconds awake_;
};

}  // namespace dodeca::runtime::engine
