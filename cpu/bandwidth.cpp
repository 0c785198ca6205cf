#include "cpu/bandwidth.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>

#include "cpu/kernels/bandwidth/bandwidth.hpp"

namespace dodeca::cpu {

double read_bandwidth(Team& team, const Buffer& buffer, double seconds, Isa isa) {
  using Clock = std::chrono::steady_clock;
  constexpr std::int64_t kGrain = 4096;
  constexpr int kLeastPasses = 3;
  const std::int64_t bytes = static_cast<std::int64_t>(buffer.size()) / kGrain * kGrain;
  if (bytes < kGrain * team.size()) return 0;
  std::atomic<std::uint64_t> sink{0};
  double best = 0;
  bool done = false;
  team.run([&](const Member& member) {
    const Range part = member.part(bytes, kGrain);
    std::memset(buffer.data() + part.begin, member.index + 1, static_cast<std::size_t>(part.end - part.begin));
    member.barrier();
    const Clock::time_point first = Clock::now();
    for (int pass = 0; !done; ++pass) {
      const Clock::time_point start = Clock::now();
      sink ^= xor_of(buffer.data() + part.begin, static_cast<std::size_t>(part.end - part.begin), isa);
      member.barrier();
      if (member.index == 0) {
        const Clock::time_point end = Clock::now();
        best = std::max(best, static_cast<double>(bytes) / std::chrono::duration<double>(end - start).count());
        done = pass + 1 >= kLeastPasses && std::chrono::duration<double>(end - first).count() >= seconds;
      }
      member.barrier();
    }
  });
  return best;
}

}  // namespace dodeca::cpu
