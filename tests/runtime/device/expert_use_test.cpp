// Which experts get the slots of a device.
#include "runtime/device/expert_use.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace dodeca::runtime::device;

namespace {

void use(ExpertUse& experts, std::int64_t layer, std::int32_t expert, int times) {
  const std::vector<std::int32_t> ids(static_cast<std::size_t>(times), expert);
  experts.count(layer, ids);
}

bool is(const std::optional<ExpertUse::Swap>& swap, std::int64_t layer, std::int32_t expert, std::int32_t slot) {
  return swap && swap->layer == layer && swap->expert == expert && swap->slot == slot;
}

void do_swap(ExpertUse& experts, const ExpertUse::Swap& swap) {
  experts.leave(swap.layer, swap.slot);
  experts.enter(swap);
}

}  // namespace

TEST_CASE("empty slots are filled by what was used most, and an expert that was used once stays where it is") {
  ExpertUse experts(2, 6, 2);
  CHECK_FALSE(experts.next());
  use(experts, 0, 4, 1);
  CHECK_FALSE(experts.next());
  use(experts, 0, 4, 2);
  use(experts, 1, 5, 7);
  CHECK(is(experts.next(), 1, 5, 0));
  do_swap(experts, *experts.next());
  CHECK(experts.slot_of(1)[5] == 0);
  CHECK(is(experts.next(), 0, 4, 0));
  do_swap(experts, *experts.next());
  CHECK_FALSE(experts.next());
  CHECK(experts.count(0, std::vector<std::int32_t>{4, 1, 4}) == 2);
}

TEST_CASE("a resident gives its slot to what is used clearly more, and not before") {
  ExpertUse experts(1, 4, 1);
  use(experts, 0, 0, 20);
  do_swap(experts, *experts.next());
  use(experts, 0, 1, 37);  // 20 + 20 / 2 + 8 are wanted
  CHECK_FALSE(experts.next());
  use(experts, 0, 1, 1);
  REQUIRE(is(experts.next(), 0, 1, 0));
  experts.leave(0, 0);
  CHECK(experts.slot_of(0)[0] == -1);
  experts.enter({0, 1, 0});
  CHECK_FALSE(experts.next());  // the two do not take turns
}

TEST_CASE("old choices count less and less") {
  ExpertUse experts(1, 2, 1);
  use(experts, 0, 0, kHalfLifeChoices - 1);
  do_swap(experts, *experts.next());
  use(experts, 0, 1, kHalfLifeChoices);  // both count half now
  CHECK_FALSE(experts.next());
  use(experts, 0, 1, 1100);
  CHECK(is(experts.next(), 0, 1, 0));
}

TEST_CASE("more slots than experts") {
  ExpertUse experts(1, 2, 3);
  use(experts, 0, 0, 5);
  use(experts, 0, 1, 6);
  do_swap(experts, *experts.next());
  do_swap(experts, *experts.next());
  CHECK_FALSE(experts.next());
  CHECK(experts.count(0, std::vector<std::int32_t>{0, 1}) == 2);
}
