#include <fmt/format.h>

#include <cstring>

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

PlacedSum sum_of_all(Cluster& cluster, const PlacedSum& own) {
  PlacedSum sum;
  const std::vector<std::string> all = cluster.gather({reinterpret_cast<const char*>(&own), sizeof own});
  for (std::size_t r = 0; r < all.size(); ++r) {
    PlacedSum one;
    if (all[r].size() != sizeof one)
      throw Error(ErrorKind::kIo, fmt::format("the sum of the weights of {} came as {} bytes, and has {}",
                                              cluster.name_of(static_cast<int>(r)), all[r].size(), sizeof one));
    std::memcpy(&one, all[r].data(), sizeof one);
    sum.add(one);
  }
  return sum;
}

}  // namespace dodeca::runtime::cluster
