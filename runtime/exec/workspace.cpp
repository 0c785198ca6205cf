#include "runtime/exec/workspace.hpp"

#include <algorithm>

#include "runtime/exec/multiply.hpp"

namespace dodeca::runtime::exec {

void Demand::rows(RowBuffer buffer, std::int64_t n_rows, std::int64_t width) {
  Rows& rows = rows_[static_cast<std::size_t>(buffer)];
  rows.n_rows = std::max(rows.n_rows, n_rows);
  rows.width = std::max(rows.width, width);
}

void Demand::part_rows(RowBuffer buffer, std::int64_t n_rows, std::int64_t width) {
  rows(buffer, n_rows, width);
  rows_[static_cast<std::size_t>(buffer)].n_parts = n_parts_;
}

void Demand::read_by(RowBuffer buffer, const WeightPlan* weight) {
  if (weight == nullptr || weight->layout == nullptr) return;
  rows_[static_cast<std::size_t>(buffer)].formats.add(weight->layout->act);
  scratch(ThreadBuffer::kMatmul, multiply_scratch_bytes(*weight));
}

void Demand::array(ArrayBuffer buffer, std::int64_t n, std::size_t element_bytes) {
  std::size_t& bytes = arrays_[static_cast<std::size_t>(buffer)];
  bytes = std::max(bytes, static_cast<std::size_t>(n) * element_bytes);
}

void Demand::scratch(ThreadBuffer buffer, std::size_t bytes) {
  std::size_t& most = scratch_[static_cast<std::size_t>(buffer)];
  most = std::max(most, bytes);
}

void Demand::products(std::int64_t micro_batch) {
  const std::int64_t n_rows = std::min(micro_batch, kPieceRows);
  scratch(ThreadBuffer::kProducts, static_cast<std::size_t>(n_rows * kProductTiles * cpu::kTileRows) * sizeof(float));
}

void Demand::blocks(std::int64_t n_blocks) {
  array(ArrayBuffer::kBlockCounters, (n_parts_ + 1) * n_blocks, sizeof(BlockCounter));
}

std::uint64_t Demand::bytes(int n_threads) const {
  std::uint64_t sum = 0;
  for (const Rows& rows : rows_) sum += Activations::bytes_needed(rows.n_parts * rows.n_rows, rows.width, rows.formats);
  for (const std::size_t bytes : arrays_) sum += bytes;
  for (const std::size_t bytes : scratch_) sum += static_cast<std::uint64_t>(n_threads) * bytes;
  return sum;
}

Workspace::Workspace(const Demand& demand, std::span<const int> part_nodes) : demand_(demand) {
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    const Demand::Rows& rows = demand.rows_[i];
    rows_[i] = Activations(rows.n_parts * rows.n_rows, rows.width, rows.formats, rows.n_parts);
    if (rows.n_parts > 1) rows_[i].bind_parts(part_nodes);
  }
  for (std::size_t i = 0; i < arrays_.size(); ++i) arrays_[i] = cpu::Buffer(demand.arrays_[i]);
  n_counters_ = static_cast<std::int64_t>(array_bytes(ArrayBuffer::kBlockCounters) / sizeof(BlockCounter)) /
                (demand.n_parts_ + 1);
}

void Workspace::ensure_threads(int n_threads) {
  while (static_cast<int>(threads_.size()) < n_threads) {
    auto& buffers = threads_.emplace_back();
    for (std::size_t i = 0; i < buffers.size(); ++i) buffers[i] = cpu::Buffer(demand_.scratch_[i]);
  }
}

}  // namespace dodeca::runtime::exec
