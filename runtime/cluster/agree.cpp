#include <fmt/format.h>

#include "runtime/base/error.hpp"
#include "runtime/cluster/cluster.hpp"

namespace dodeca::runtime::cluster {

void agree(Cluster& cluster, const std::vector<std::string>& facts) {
  for (const std::string& fact : facts) {
    const std::vector<std::string> all = cluster.gather(fact);
    for (std::size_t r = 1; r < all.size(); ++r) {
      if (all[r] == all[0]) continue;
      throw Error(ErrorKind::kBadRequest, fmt::format("{} has {}, {} has {}", cluster.name_of(static_cast<int>(r)),
                                                      all[r], cluster.name_of(0), all[0]));
    }
  }
}

}  // namespace dodeca::runtime::cluster
