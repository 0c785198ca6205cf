#include "runtime/exec/phase.hpp"

#include <bit>

namespace dodeca::runtime::exec {

namespace {

// Counts n of `wanted`; true for the one that completes them. Zero again for the next phase, behind a barrier.
bool counts_up(BlockCounter& counter, std::int64_t n, std::int64_t wanted) noexcept {
  if (counter.done.fetch_add(n, std::memory_order_acq_rel) + n < wanted) return false;
  counter.done.store(0, std::memory_order_relaxed);
  return true;
}

}  // namespace

bool blocks_within_parts(std::span<const TileLoad> loads) {
  for (const TileLoad& load : loads) {
    for (std::int64_t t = 0; t < load.n_tiles; t = load.tiles_of(load.block_of(t)).end) {
      const std::int64_t block = load.block_of(t);
      for (const TileLoad& other : loads) {
        const cpu::Range tiles = other.tiles_of(block);
        if (other.part != load.part && tiles.begin < tiles.end) return false;
      }
    }
  }
  return true;
}

bool completes(const Phase& phase, Pass& pass, std::span<const TileLoad> loads, std::size_t load,
               const cpu::Range& tiles) noexcept {
  const std::int32_t part = loads[load].part;
  const std::int64_t block = loads[load].block_of(tiles.begin), all = pass.crews.n_parts();
  const bool of_part = phase.finish_part || phase.end == PhaseEnd::kPart;
  std::int64_t wanted = 0;  // tiles
  std::uint64_t parts = 0;  // a bit for each that has some
  for (const TileLoad& other : loads) {
    const cpu::Range own = other.tiles_of(block);
    if (own.begin == own.end || !pass.crews.has(other.part)) continue;
    if (!of_part || other.part == part) wanted += own.end - own.begin;
    parts |= std::uint64_t{1} << other.part;
  }
  if (!counts_up(pass.space.counter(of_part ? part : all, block), tiles.end - tiles.begin, wanted)) return false;
  if (!phase.finish_part) return true;
  phase.finish_part(pass, part, block);
  const std::int64_t n_parts = std::popcount(parts);
  return n_parts == 1 || counts_up(pass.space.counter(all, block), 1, n_parts);
}

void exchange_results(const Phase& phase, Pass& pass, const cpu::Member& member) {
  barrier_and(pass, member, [&] {
    pass.regions.clear();
    phase.joint(pass, pass.regions);
    pass.cut_off = !pass.exchange->share(pass.regions);
  });
}

void run_phase(const Phase& phase, Pass& pass, const cpu::Member& member) {
  const bool exchanged = is_exchanged(phase, pass);
  const bool in_blocks = run_share(phase, pass, member, [&](std::int64_t block) {
    if (phase.finish_block && !exchanged) phase.finish_block(pass, block);
  });
  const bool finished = in_blocks && !exchanged;
  if (exchanged) exchange_results(phase, pass, member);
  if (phase.end == PhaseEnd::kPart && pass.few()) return pass.crews.barrier(member);
  const std::int64_t count = finished || !phase.finish ? 0 : phase.n_items ? phase.n_items(pass) : pass.n();
  finish_items(
      pass, member, count, [&](std::int64_t i) { phase.finish(pass, i); },
      [&] {
        if (phase.last) phase.last(pass);
      });
}

}  // namespace dodeca::runtime::exec
