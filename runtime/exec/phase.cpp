#include "runtime/exec/phase.hpp"

namespace dodeca::runtime::exec {

bool completes(const Pass& pass, std::span<const TileLoad> loads, std::int64_t block, std::int64_t n_tiles) noexcept {
  std::int64_t wanted = 0;
  for (const TileLoad& load : loads) {
    const cpu::Range tiles = load.tiles_of(block);
    wanted += tiles.end - tiles.begin;
  }
  std::atomic<std::int64_t>& done = pass.space.array<BlockCounter>(ArrayBuffer::kBlockCounters)[block].tiles;
  if (done.fetch_add(n_tiles, std::memory_order_acq_rel) + n_tiles < wanted) return false;
  done.store(0, std::memory_order_relaxed);  // for the next phase, behind a barrier
  return true;
}

void run_phase(const Phase& phase, Pass& pass, const cpu::Member& member) {
  const bool finished = run_share(phase, pass, member, [&](std::int64_t block) { phase.finish_block(pass, block); });
  const std::int64_t count = finished || !phase.finish ? 0 : phase.n_items ? phase.n_items(pass) : pass.n();
  finish_items(
      pass, member, count, [&](std::int64_t i) { phase.finish(pass, i); },
      [&] {
        if (phase.last) phase.last(pass);
      });
}

}  // namespace dodeca::runtime::exec
