// A phase: what the members of a team do between two barriers. Most phases multiply the pass's rows with tiles of weights;
// their loads are one list that is cut by bytes, so that every member reads the same share whatever the shapes. Loads of
// a part are dealt among the members that work on it (cpu/crews.hpp).
//
// What comes after a product (norms, quantizing, routing) is done in one of two ways, with the same bits. With few rows,
// by whoever completes a block of results, while the others still multiply: nobody pulls a whole row into one core. With
// many, row by row behind a barrier.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/exec/pass.hpp"
#include "runtime/model/weight_role.hpp"

namespace dodeca::runtime::exec {

// What a phase reads and multiplies, for the trace; experts: distinct ones, where it is about them.
struct Work {
  std::uint64_t bytes = 0;
  std::uint64_t expert_macs = 0, experts = 0;
};

// Rows that a weight of this role was multiplied with, given out after the phase: slice, row of floats, and the factor
// that goes with the row.
using RowSink = std::function<void(std::int64_t slice, const float* row, float factor)>;
struct Tap {
  WeightRole role;  // names the input (BlockPlan::inputs)
  std::function<void(const Pass&, const RowSink&)> rows;
};

inline constexpr std::int64_t kWholeLoad = std::int64_t{1} << 40;  // tiles_per_block: all of a load is one block

// Tiles of one weight that a phase deals, and the blocks of results that they belong to.
struct TileLoad {
  std::int64_t n_tiles = 0;
  std::uint64_t tile_bytes = 0;
  std::int32_t part = 0;
  std::int64_t first_block = 0;  // tile t belongs to block first_block + (first_tile + t) / tiles_per_block
  std::int64_t first_tile = 0;
  std::int64_t tiles_per_block = kBlockColumns / cpu::kTileRows;

  std::int64_t block_of(std::int64_t tile) const { return first_block + (first_tile + tile) / tiles_per_block; }
  // Its tiles that belong to `block`.
  cpu::Range tiles_of(std::int64_t block) const {
    if (tiles_per_block == kWholeLoad) return {0, block == first_block ? n_tiles : 0};
    const std::int64_t begin = (block - first_block) * tiles_per_block - first_tile;
    return {std::clamp<std::int64_t>(begin, 0, n_tiles), std::clamp<std::int64_t>(begin + tiles_per_block, 0, n_tiles)};
  }
};

// Who waits for each other at the end of a phase of few rows: everyone, or the members of each part, where they alone
// read what it gives. With many rows everyone does.
enum class PhaseEnd { kAll, kPart };

struct Phase {
  std::string_view name;
  // What is dealt by bytes, and what a member does with its share of a load.
  std::function<std::span<const TileLoad>(const Pass&)> loads = {};
  std::function<void(Pass&, const cpu::Member&, std::size_t load, const cpu::Range& tiles)> run = {};
  // What all members do, each its share: for phases without loads, and instead of them for many rows.
  std::function<void(Pass&, const cpu::Member&)> deal = {};
  // Few rows: finishes a block of results, once all its tiles are there. Empty: results are not complete in blocks.
  std::function<void(Pass&, std::int64_t block)> finish_block = {};
  // Before it, where each part has results of its own for a block: those of one.
  std::function<void(Pass&, std::int64_t part, std::int64_t block)> finish_part = {};
  // Otherwise: what is finished one by one when all members are done: n_items, by default the rows.
  std::function<void(Pass&, std::int64_t item)> finish = {};
  std::function<std::int64_t(const Pass&)> n_items = {};
  std::function<void(Pass&)> last = {};  // once, behind everything, before anyone goes on
  std::function<Work(const Pass&)> work = {};
  std::vector<Tap> taps = {};
  PhaseEnd end = PhaseEnd::kAll;  // kPart: there is no `last`, and with few rows no `finish`
  // Where parts are in processes of their own: adds what of each part's results all of them need. finish_part has made
  // them complete; behind the exchange `finish` does for every row what finish_block does otherwise.
  std::function<void(Pass&, std::vector<Region>&)> joint = {};
};

// f(load, tiles): a member's share of the tiles of its parts' loads, taken as one list and cut by bytes.
template <class F>
void for_share(std::span<const TileLoad> loads, const cpu::CrewPlace& place, F&& f) {
  std::int64_t all = 0;
  for (const TileLoad& load : loads) {
    if (place.has(load.part)) all += load.n_tiles * static_cast<std::int64_t>(load.tile_bytes);
  }
  const std::int64_t begin = all * place.index / place.size, end = all * (place.index + 1) / place.size;
  std::int64_t first = 0;
  for (std::size_t i = 0; i < loads.size(); ++i) {
    if (!place.has(loads[i].part)) continue;
    const auto bytes = static_cast<std::int64_t>(loads[i].tile_bytes);
    const auto tile_at = [&](std::int64_t x) {
      return std::clamp<std::int64_t>((x - first + bytes / 2) / bytes, 0, loads[i].n_tiles);
    };
    if (loads[i].n_tiles > 0) {
      const cpu::Range tiles{begin <= first ? 0 : tile_at(begin), end <= first ? 0 : tile_at(end)};
      if (tiles.begin < tiles.end) f(i, tiles);
    }
    first += loads[i].n_tiles * bytes;
  }
}

// Whether every block of the loads has tiles of one part alone.
bool blocks_within_parts(std::span<const TileLoad> loads);

// For what needs several blocks: true for the one that was the last of n to come.
class Arrivals {
 public:
  bool is_last_of(std::int64_t n) {
    if (count_.fetch_add(1, std::memory_order_acq_rel) + 1 < n) return false;
    count_.store(0, std::memory_order_relaxed);
    return true;
  }

 private:
  std::atomic<std::int64_t> count_{0};
};

// Whether a phase of this pass deals its loads.
inline bool deals_loads(const Phase& phase, const Pass& pass) { return phase.loads && (pass.few() || !phase.deal); }

// Counts tiles of a load as done. True for one caller per block, when all its tiles are and every part has finished its
// own: it sees what the others wrote.
bool completes(const Phase& phase, Pass& pass, std::span<const TileLoad> loads, std::size_t load,
               const cpu::Range& tiles) noexcept;

// A member's part of a phase. True: every block was given to block_done(block) by whoever completed it.
template <class F>
bool run_share(const Phase& phase, Pass& pass, const cpu::Member& member, F&& block_done) {
  if (!deals_loads(phase, pass)) {
    phase.deal(pass, member);
    return false;
  }
  const std::span<const TileLoad> loads = phase.loads(pass);
  const bool in_blocks = pass.few() && (phase.finish_block || phase.finish_part);
  for_share(loads, pass.crews.place(member), [&](std::size_t i, const cpu::Range& tiles) {
    phase.run(pass, member, i, tiles);
    for (std::int64_t t = tiles.begin; in_blocks && t < tiles.end;) {
      const std::int64_t block = loads[i].block_of(t), stop = std::min(tiles.end, loads[i].tiles_of(block).end);
      if (completes(phase, pass, loads, i, {t, stop})) block_done(block);
      t = stop;
    }
  });
  return in_blocks;
}

// A barrier; the last member to arrive does `last` before anyone goes on. Its time is noted where the pass is traced.
template <class F>
void barrier_and(Pass& pass, const cpu::Member& member, F&& last) {
  member.barrier([&] {
    const AloneTimer timer(pass);
    last();
  });
}

// f(i) for i < count, then `last` once, then everyone goes on. One row in the pass: the last member to arrive does it
// all, because that takes less time than another barrier; more: they are dealt.
template <class F, class Last>
void finish_items(Pass& pass, const cpu::Member& member, std::int64_t count, F&& f, Last&& last) {
  if (pass.n() == 1) {
    barrier_and(pass, member, [&] {
      for (std::int64_t i = 0; i < count; ++i) f(i);
      last();
    });
    return;
  }
  if (count > 0) {
    member.barrier();
    const cpu::Range mine = member.part(count);
    for (std::int64_t i = mine.begin; i < mine.end; ++i) f(i);
  }
  barrier_and(pass, member, last);
}

// Whether the results of a phase go to other processes, and theirs come here.
inline bool is_exchanged(const Phase& phase, const Pass& pass) { return pass.exchange != nullptr && phase.joint; }
// Behind it every member sees the results of all parts.
void exchange_results(const Phase& phase, Pass& pass, const cpu::Member& member);

// All of a phase, its end included.
void run_phase(const Phase& phase, Pass& pass, const cpu::Member& member);

}  // namespace dodeca::runtime::exec
