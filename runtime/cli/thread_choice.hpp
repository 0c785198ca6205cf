// How many threads generation and prompts get when the user does not say. Prompts are limited by arithmetic and take all
// cores. Generation is limited by memory: where fewer threads read clearly faster than all, it takes those. That is
// measured once, in a fraction of a second, and kept for the machine in a file that may be lost at any time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cpu/topology.hpp"
#include "runtime/base/log.hpp"

namespace dodeca::runtime::cli {

struct ThreadChoice {
  std::int32_t generation = 1, prompts = 1;
  std::string reason;     // "all 2 cores"
  bool measured = false;  // now, or by the run that wrote the file
};

// Bytes per second that a team of so many threads reads.
using ReadRate = std::function<double(std::int32_t n_threads)>;
// Of this machine, over a buffer of twice the L3 caches that all of them have touched.
ReadRate read_rate_of(const cpu::Topology& topology);

// Asks `rate` for all, three quarters and a half of default_threads(), whole numbers per L3; for at most 4 cores nothing.
// A measurement that throws is no failure: all threads then.
ThreadChoice choose_threads(const cpu::Topology& topology, const ReadRate& rate);

// What a choice depends on: processor, cores, L3s, nodes, quota and affinity.
std::string machine_key(const cpu::Topology& topology);
// $XDG_CACHE_HOME/dodeca/threads.json, by default in ~/.cache; empty where there is no home.
std::filesystem::path thread_cache_file();
// What the file says of this machine, else what is measured now and then added to the file. A file that cannot be read
// or written is said to `log` (kDetail) and is no failure.
ThreadChoice cached_threads(const cpu::Topology& topology, const std::filesystem::path& file, const ReadRate& rate,
                            const Log& log);
// Measures anew, and replaces what the file says of this machine unless `file` is empty.
ThreadChoice refresh_threads(const cpu::Topology& topology, const std::filesystem::path& file, const ReadRate& rate,
                             const Log& log);

// "threads: 48 for generation, 64 for prompts: ..."
std::string threads_text(const ThreadChoice& choice);

}  // namespace dodeca::runtime::cli
