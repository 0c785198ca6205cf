// Memory read bandwidth: the denominator of every tokens/s. Each worker streams through its own part of a buffer that
// is far larger than the last-level caches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "cpu/topology.hpp"

namespace dodeca::bench {

// The last-level caches of the machine together.
std::uint64_t last_level_cache_bytes(const cpu::Topology& topology);
// Large enough that caches do not matter (4 times the L3, at least 256 MiB), at most a quarter of what is free.
std::size_t default_buffer_bytes(const cpu::Topology& topology);

// dodeca-bench membw
int cmd_membw(std::span<const std::string> args);

}  // namespace dodeca::bench
