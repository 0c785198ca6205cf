#include "runtime/sample/sample_rows.hpp"

#include <algorithm>
#include <limits>
#include <vector>

#include "cpu/kernels/chunk_max/chunk_max.hpp"

namespace dodeca::runtime {
namespace {

// Bans and penalties, written into the logits in place: a few tokens instead of a copy of the vocabulary.
class LogitChanges {
 public:
  explicit LogitChanges(const SampledRow& row) : logits_(row.logits) {
    if (row.sampler == nullptr) return;
    for (const std::int32_t token : row.banned) set({-std::numeric_limits<float>::infinity(), token});
    for (const Candidate& change : row.sampler->penalties(logits_)) set(change);
  }
  bool any() const { return !before_.empty(); }
  void undo() {
    for (auto change = before_.rbegin(); change != before_.rend(); ++change) logits_[change->token] = change->logit;
    before_.clear();
  }

 private:
  void set(const Candidate& change) {
    before_.push_back({logits_[change.token], change.token});
    logits_[change.token] = change.logit;
  }
  std::span<float> logits_;
  std::vector<Candidate> before_;
};

class RowsToSample {
 public:
  explicit RowsToSample(std::span<SampledRow> rows) : rows_(rows), isa_(cpu::host_isa()) {
    for (const SampledRow& row : rows_) {
      changes_.emplace_back(row);
      first_chunk_.push_back(n_chunks());
      maxima_.resize(maxima_.size() + cpu::chunks_of(std::ssize(row.logits)));
    }
  }
  std::int64_t n_chunks() const { return std::ssize(maxima_); }  // of all rows

  void scan(const cpu::Range& chunks) {
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      const std::int64_t first = first_chunk_[r], n = cpu::chunks_of(std::ssize(rows_[r].logits));
      const std::int64_t begin = std::max(chunks.begin - first, std::int64_t{0}), end = std::min(chunks.end - first, n);
      if (begin >= end) continue;
      const auto part = rows_[r].logits.subspan(begin * cpu::kMaxChunk);
      cpu::chunk_maxima(part.data(), std::min(std::ssize(part), (end - begin) * cpu::kMaxChunk),
                        maxima_.data() + first + begin, isa_);
    }
  }

  void finish(std::int64_t r) noexcept {
    SampledRow& row = rows_[r];
    LogitChanges& changes = changes_[r];
    try {
      const std::span<const float> maxima =
          std::span(maxima_).subspan(first_chunk_[r], cpu::chunks_of(std::ssize(row.logits)));
      const ScannedLogits scanned(row.logits, maxima);
      if (row.sampler != nullptr) row.token = row.sampler->draw(scanned);
      const bool changed = changes.any();
      changes.undo();
      if (row.n_logprobs >= 0)
        row.logprobs =
            changed ? logprobs(row.logits, row.token, row.n_logprobs) : logprobs(scanned, row.token, row.n_logprobs);
    } catch (...) {
      row.error = std::current_exception();
    }
    changes.undo();
  }

 private:
  std::span<SampledRow> rows_;
  cpu::Isa isa_;
  std::vector<LogitChanges> changes_;
  std::vector<std::int64_t> first_chunk_;
  std::vector<float> maxima_;
};

}  // namespace

void sample_rows(std::span<SampledRow> rows, cpu::Team* team) {
  if (rows.empty()) return;
  RowsToSample work(rows);
  if (team == nullptr || team->size() == 1) {
    work.scan({0, work.n_chunks()});
    for (std::int64_t r = 0; r < std::ssize(rows); ++r) work.finish(r);
    return;
  }
  cpu::WorkCounter next;
  team->run([&](const cpu::Member& member) {
    work.scan(member.part(work.n_chunks()));
    member.barrier();
    for (std::int64_t r = next.take(); r < std::ssize(rows); r = next.take()) work.finish(r);
  });
}

}  // namespace dodeca::runtime
