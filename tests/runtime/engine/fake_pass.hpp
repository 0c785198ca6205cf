// A stand-in for a model: the logits of a row are a hash of all tokens of its sequence up to there, read back from a KV
// cache in blocks that behaves as the real one (whole blocks shared by forks, partial ones copied). A wrong fork, cut
// or position therefore changes the text, and room is counted exactly. It drafts too, right three times of four, and
// checks that every hidden state comes back with the position that it was given out for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/engine/engine.hpp"

namespace dodeca::tests {

class FakePass final : public runtime::engine::ForwardPass {
 public:
  static constexpr std::int64_t kVocab = 40, kBlock = 8;
  static constexpr std::int32_t kEnd = 0;

  FakePass(std::int32_t n_sequences, std::int64_t n_positions)
      : sequences_(static_cast<std::size_t>(n_sequences)), n_blocks_((n_positions + kBlock - 1) / kBlock) {}

  std::int64_t vocab_size() const override { return kVocab; }
  std::int32_t n_sequences() const override { return static_cast<std::int32_t>(sequences_.size()); }
  std::int64_t block_positions() const override { return kBlock; }
  std::int64_t free_positions() const override { return (n_blocks_ - *live_) * kBlock; }

  void truncate(std::int32_t sequence, std::int64_t n) override {
    Sequence& s = at(sequence);
    s.length = std::min(s.length, n);
    s.blocks.resize(static_cast<std::size_t>((s.length + kBlock - 1) / kBlock));
  }
  void fork(std::int32_t src, std::int32_t dst, std::int64_t n) override {
    const Sequence from = at(src);
    if (n > from.length) throw std::logic_error("fork beyond the source's length");
    at(dst) = {};
    Sequence to;
    to.blocks.assign(from.blocks.begin(), from.blocks.begin() + n / kBlock);
    if (n % kBlock != 0) {
      to.blocks.push_back(new_block());
      *to.blocks.back() = *from.blocks[static_cast<std::size_t>(n / kBlock)];
    }
    to.length = n;
    at(dst) = std::move(to);
    ++n_forks;
  }
  void forward(std::span<const runtime::exec::Row> rows, runtime::exec::ForwardOutput& out, bool) override {
    out.clear();
    if (stops > 0 && --stops == 0) throw runtime::Stopped{};
    for (const runtime::exec::Row& row : rows) {
      Sequence& s = at(row.sequence);
      if (row.position != s.length) throw std::logic_error("row out of place");
      if (s.length % kBlock == 0) s.blocks.push_back(new_block());
      if (s.blocks.back().use_count() != 1) throw std::logic_error("write into a shared block");
      s.blocks.back()->tokens[static_cast<std::size_t>(s.length++ % kBlock)] = row.token;
      if (row.wants_hidden) {
        const std::vector<float> hidden = hidden_after(history(row.sequence));
        out.hidden.insert(out.hidden.end(), hidden.begin(), hidden.end());
      }
      if (row.wants_logits) {
        const std::vector<float> logits = logits_after(history(row.sequence));
        out.logits.insert(out.logits.end(), logits.begin(), logits.end());
      }
    }
    n_rows += static_cast<std::int64_t>(rows.size());
    rows_per_pass.push_back(static_cast<std::int64_t>(rows.size()));
  }

  int stops = 0;  // the so many-th pass from now is stopped

  std::vector<std::int32_t> history(std::int32_t sequence) const {
    const Sequence& s = sequences_.at(static_cast<std::size_t>(sequence));
    std::vector<std::int32_t> tokens;
    for (std::int64_t p = 0; p < s.length; ++p)
      tokens.push_back(s.blocks[static_cast<std::size_t>(p / kBlock)]->tokens[static_cast<std::size_t>(p % kBlock)]);
    return tokens;
  }

  std::int64_t hidden_size() const override { return drafts ? 2 : 0; }
  void draft(std::span<const runtime::exec::Row> rows, std::span<const float> hidden, runtime::exec::ForwardOutput& out,
             bool) override {
    out.clear();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const runtime::exec::Row& row = rows[i];
      Sequence& s = at(row.sequence);
      if (row.position > s.length) throw std::logic_error("draft out of place");
      if (row.position == s.length) {
        if (s.length % kBlock == 0) s.blocks.push_back(new_block());
        s.blocks.back()->tokens[static_cast<std::size_t>(s.length++ % kBlock)] = -1;
      }
      const std::shared_ptr<Block>& block = s.blocks[static_cast<std::size_t>(row.position / kBlock)];
      if (block.use_count() != 1) throw std::logic_error("draft into a shared block");
      block->drafts[static_cast<std::size_t>(row.position % kBlock)] = row.token;
      std::vector<std::int32_t> tokens = history(row.sequence);
      tokens.resize(static_cast<std::size_t>(row.position) + 1);
      for (std::int32_t q = 0; q < row.position; ++q) {
        const std::int32_t made =
            s.blocks[static_cast<std::size_t>(q / kBlock)]->drafts[static_cast<std::size_t>(q % kBlock)];
        std::int32_t& next = tokens[static_cast<std::size_t>(q) + 1];
        if (next < 0) next = made;  // a draft's position has no main row
        n_stale += made != next;
      }
      const std::vector<float> given(hidden.begin() + static_cast<std::ptrdiff_t>(2 * i),
                                     hidden.begin() + static_cast<std::ptrdiff_t>(2 * i + 2));
      if (given == std::vector<float>{0, 0})
        ++n_unknown;
      else if (given[0] >= 0 && given != hidden_after(tokens))
        throw std::logic_error("the hidden state of another position");
      if (row.wants_hidden) out.hidden.insert(out.hidden.end(), {-1.0f, 0.0f});
      ++n_draft_rows;
      if (!row.wants_logits) continue;
      tokens.push_back(row.token);
      if (hidden_after(tokens)[1] < 250) tokens.push_back(1);  // another text's
      const std::vector<float> logits = logits_after(tokens);
      out.logits.insert(out.logits.end(), logits.begin(), logits.end());
    }
  }
  // Position and a hash below 1000.
  static std::vector<float> hidden_after(const std::vector<std::int32_t>& tokens) {
    const std::vector<float> logits = logits_after(tokens);
    float sum = 0;
    for (const float x : logits) sum += x * 512.0f;
    return {static_cast<float>(tokens.size()), static_cast<float>(static_cast<std::int64_t>(sum) % 1000)};
  }
  // The model itself. The end token is likely enough that texts end now and then.
  static std::vector<float> logits_after(const std::vector<std::int32_t>& tokens) {
    std::uint64_t hash = 1469598103934665603u;
    for (const std::int32_t token : tokens) hash = (hash ^ static_cast<std::uint64_t>(token + 1)) * 1099511628211u;
    std::vector<float> logits(kVocab);
    for (std::int64_t v = 0; v < kVocab; ++v) {
      std::uint64_t x = hash + static_cast<std::uint64_t>(v) * 0x9e3779b97f4a7c15u;
      x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
      x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
      logits[static_cast<std::size_t>(v)] = static_cast<float>((x >> 40) % 4096) / 512.0f;
    }
    return logits;
  }
  static runtime::engine::Vocabulary vocabulary() {
    return {
        [](std::int32_t id) { return id == kEnd ? std::string() : std::string(1, static_cast<char>('A' + id - 1)); },
        {kEnd}};
  }
  // What greedy generation must give, computed without engine or cache.
  static std::vector<std::int32_t> greedy(std::vector<std::int32_t> prompt, std::int64_t max_tokens) {
    std::vector<std::int32_t> out;
    while (static_cast<std::int64_t>(out.size()) < max_tokens) {
      const std::vector<float> logits = logits_after(prompt);
      const auto token = static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
      out.push_back(token);
      if (token == kEnd) break;
      prompt.push_back(token);
    }
    return out;
  }

  void rest() override { ++n_rests; }

  bool drafts = false;
  std::int64_t n_draft_rows = 0, n_unknown = 0, n_stale = 0;  // hidden states of zero; rows made for another token
  std::int64_t n_rows = 0, n_forks = 0, n_rests = 0;
  std::vector<std::int64_t> rows_per_pass;

 private:
  struct Block {
    std::vector<std::int32_t> tokens = std::vector<std::int32_t>(kBlock, -1), drafts = tokens;
  };
  struct Sequence {
    std::vector<std::shared_ptr<Block>> blocks;
    std::int64_t length = 0;
  };
  Sequence& at(std::int32_t sequence) { return sequences_.at(static_cast<std::size_t>(sequence)); }
  std::shared_ptr<Block> new_block() {
    if (*live_ == n_blocks_) throw std::logic_error("the cache is full");
    ++*live_;
    return {new Block, [live = live_](Block* block) {
              --*live;
              delete block;
            }};
  }

  std::vector<Sequence> sequences_;
  std::int64_t n_blocks_;
  std::shared_ptr<std::int64_t> live_ = std::make_shared<std::int64_t>(0);
};

}  // namespace dodeca::tests
