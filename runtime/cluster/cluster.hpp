// The processes that hold a part of one model each, one per machine: who they are, and how they talk. Rank 0 has the
// engine, and the others do what it tells them. Built with DODECA_MPI they are the ranks that mpirun started; nothing
// else here knows of MPI.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/base/hash.hpp"
#include "runtime/exec/exchange.hpp"

namespace dodeca::runtime::cluster {

// How long nothing may come from a rank for which the others wait inside a pass.
inline constexpr double kPatienceSeconds = 8.0;

class Cluster {
 public:
  virtual ~Cluster() = default;
  virtual int rank() const = 0;  // of this process; also its part
  virtual int size() const = 0;
  virtual const std::string& name_of(int rank) const = 0;  // "rank 1 (node-b)"
  virtual exec::Exchange& exchange() = 0;
  // Everyone's bytes by rank; waits for them as long as it takes. Throws what `poll` of join() throws.
  virtual std::vector<std::string> gather(const std::string& own) = 0;
  // Rank 0: the same bytes to all others, who hear them in order. Throws what Exchange::check() does when a rank is lost
  // meanwhile, and does nothing when one was lost before: the next pass throws.
  virtual void tell(const std::string& bytes) = 0;
  virtual std::string hear() = 0;
  // Another process is there to say first what went wrong.
  virtual bool silent() const = 0;
  virtual std::string statistics() const = 0;  // of the exchanges so far, a line
};

// Processes that were started together, and which of them this is; 1 and 0 without a launcher. Known before join().
int n_started();
int rank_started();
std::string name_of_rank(int rank, const std::string& host);  // as Cluster::name_of
std::string host_name();                                      // of this machine

// Under a launcher, and before anything else: the caller goes on in a process of its own, while the one that was started
// waits for it, passes signals on, and makes one sentence and exit code 1 of its being killed. Otherwise nothing.
void watch_over_rank(const char* program);

// All processes that were started together, once; null where there is one. poll: called while others are waited for.
// Throws Error{kUnsupported} where this build knows no way to join them.
Cluster* join(const std::function<void()>& poll);
// What join() gave.
Cluster* joined();
// Before a process says why it fails. Most reasons are those of all ranks, and one of them says it and ends, by which
// mpirun ends the others: those wait for that, 2 s. False: `stopped` was true meanwhile, and nothing is to be said.
bool may_speak(const std::function<bool()>& stopped);
// At the end of a process. 0: the others may end too, and it is returned when they have. Otherwise this process ends here,
// and mpirun ends the others.
int leave(int exit_code);

// Throws Error{kBadRequest} that names both where a rank states another line than rank 0: "rank 1 (b) has version 2,
// rank 0 (a) has version 1". facts: lines of a name, a space and a value.
void agree(Cluster& cluster, const std::vector<std::string>& facts);

// Returns when all ranks have called it. A pass, in which nobody waits long, begins behind it.
inline void wait_for_all(Cluster& cluster) { cluster.gather({}); }

// The sum of the weights on all ranks, from that of those here.
PlacedSum sum_of_all(Cluster& cluster, const PlacedSum& own);

}  // namespace dodeca::runtime::cluster
