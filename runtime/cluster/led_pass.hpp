// One forward pass on all ranks of a cluster: rank 0 tells the others every operation before it does it itself; they do
// the same, so that all caches stay equal.
#pragma once

#include <memory>

#include "runtime/cluster/cluster.hpp"
#include "runtime/engine/forward_pass.hpp"

namespace dodeca::runtime::cluster {

// Of rank 0, around its own pass.
class LeadingPass final : public engine::ForwardPass {
 public:
  LeadingPass(Cluster& cluster, std::unique_ptr<engine::ForwardPass> own) : cluster_(cluster), own_(std::move(own)) {}
  std::int64_t vocab_size() const override { return own_->vocab_size(); }
  std::int32_t n_sequences() const override { return own_->n_sequences(); }
  std::int64_t block_positions() const override { return own_->block_positions(); }
  std::int64_t free_positions() const override { return own_->free_positions(); }
  void truncate(std::int32_t sequence, std::int64_t n) override;
  void fork(std::int32_t src, std::int32_t dst, std::int64_t n) override;
  void forward(std::span<const exec::Row> rows, exec::ForwardOutput& out, bool prompt) override;
  cpu::Team* team() override { return own_->team(); }
  void rest() override;

 private:
  Cluster& cluster_;
  std::unique_ptr<engine::ForwardPass> own_;
};

// Of the other ranks: does what rank 0 tells until it ends.
void follow(Cluster& cluster, engine::ForwardPass& own);
// Whether rank 0 goes on to load the model; false: it has ended. For the other ranks, and told by rank 0.
bool hear_begin(Cluster& cluster);
void tell_begin(Cluster& cluster);
// What rank 0 tells when it ends.
std::string ending();

}  // namespace dodeca::runtime::cluster
