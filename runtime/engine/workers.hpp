// The threads that a model runs on: a team for generation, and for prompts the same one or another.
#pragma once

#include <cstdint>
#include <memory>

#include "cpu/team.hpp"
#include "cpu/topology.hpp"
#include "runtime/base/log.hpp"

namespace dodeca::runtime::engine {

// One thread per physical core that the process may use, fewer where control groups grant less processor time: more
// would stop each other in mid-phase.
int default_threads(const cpu::Topology& topology);
// A team bound to cores (cpu/seats.hpp says which), of default_threads() where n_threads is 0 or less. Warns where
// threads cannot be bound. Throws Error{kDoesNotFit} when the system lets fewer threads start.
std::unique_ptr<cpu::Team> make_team(const cpu::Topology& topology, std::int32_t n_threads, const Log& log);
inline std::unique_ptr<cpu::Team> make_team(std::int32_t n_threads, const Log& log) {
  return make_team(cpu::read_topology(), n_threads, log);
}

class Workers {
 public:
  // Thread counts as make_team() takes them; n_prompt_threads 0 or less: prompts run on the one team.
  Workers(const cpu::Topology& topology, std::int32_t n_threads, std::int32_t n_prompt_threads, const Log& log);
  Workers(std::int32_t n_threads, std::int32_t n_prompt_threads, const Log& log)
      : Workers(cpu::read_topology(), n_threads, n_prompt_threads, log) {}
  // A team of the caller's for both, which must outlive the workers.
  explicit Workers(cpu::Team& team) : generation_(&team), prompts_(&team) {}

  cpu::Team& generation() const { return *generation_; }
  cpu::Team& prompts() const { return *prompts_; }
  int most_threads() const;  // of the larger team

 private:
  std::unique_ptr<cpu::Team> own_generation_, own_prompts_;
  cpu::Team *generation_, *prompts_;
};

}  // namespace dodeca::runtime::engine
