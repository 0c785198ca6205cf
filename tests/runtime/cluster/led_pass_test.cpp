// What rank 0 does with its pass the others do with theirs, without any network: what was told is heard in order.
#include "runtime/cluster/led_pass.hpp"

#include <doctest/doctest.h>

#include <deque>
#include <span>
#include <stdexcept>

#include "runtime/base/error.hpp"
#include "tests/runtime/engine/fake_pass.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::runtime;
using namespace dodeca::runtime::cluster;

class FakeCluster final : public Cluster {
 public:
  int rank() const override { return 0; }
  int size() const override { return 2; }
  const std::string& name_of(int rank) const override { return names_[rank]; }
  exec::Exchange& exchange() override { throw std::logic_error("no exchange here"); }
  std::vector<std::string> gather(const std::string& own) override { return {own, other.empty() ? own : other}; }
  void tell(const std::string& bytes) override { told.push_back(bytes); }
  std::string hear() override {
    std::string first = told.front();
    told.pop_front();
    return first;
  }
  bool silent() const override { return false; }
  std::string statistics() const override { return ""; }

  std::deque<std::string> told;
  std::string other;

 private:
  std::string names_[2] = {"rank 0 (a)", "rank 1 (b)"};
};

std::vector<exec::Row> tokens(const std::vector<int>& ids, std::int32_t sequence, std::int32_t begin) {
  std::vector<exec::Row> rows;
  for (const int id : ids)
    rows.push_back({.token = id, .position = begin++, .sequence = sequence, .wants_logits = true});
  return rows;
}

}  // namespace

TEST_CASE("followers do what rank 0 does, in its order, until it ends") {
  FakeCluster cluster;
  tell_begin(cluster);
  LeadingPass leading(cluster, std::make_unique<tests::FakePass>(2, 64));
  exec::ForwardOutput out;
  leading.forward(tokens({1, 2, 3}, 0, 0), out, true);
  leading.fork(0, 1, 2);
  leading.truncate(0, 1);
  leading.forward(tokens({9, 8}, 1, 2), out, false);
  leading.rest();
  cluster.tell(ending());

  tests::FakePass own(2, 64);
  CHECK(hear_begin(cluster));
  follow(cluster, own);
  CHECK(cluster.told.empty());
  // Both now give the same logits for the same row.
  exec::ForwardOutput here, there;
  for (const auto& rows : {tokens({7}, 1, 4), tokens({7}, 0, 1)}) {
    own.forward(rows, here, false);
    leading.forward(rows, there, false);
    CHECK(here.logits == there.logits);
  }
  cluster.told = {ending()};
  CHECK_FALSE(hear_begin(cluster));
}

TEST_CASE("the sum of all ranks' weights, and a rank that sends something else") {
  FakeCluster cluster;
  PlacedSum own;
  own.add(1, 0, std::as_bytes(std::span("weights")));
  PlacedSum twice = own;
  twice.add(own);
  CHECK(sum_of_all(cluster, own).value() == twice.value());
  cluster.other = "short";
  try {
    sum_of_all(cluster, own);
    FAIL("nothing was thrown");
  } catch (const Error& error) {
    CHECK(error.sentence().starts_with("the sum of the weights of rank 1 (b) came as 5 bytes"));
  }
}

TEST_CASE("what ranks disagree about is one sentence that names both") {
  FakeCluster cluster;
  agree(cluster, {"version 1", "model 2"});
  cluster.other = "version 2";
  try {
    agree(cluster, {"version 1"});
    FAIL("nothing was thrown");
  } catch (const Error& error) {
    CHECK(error.sentence() == "rank 1 (b) has version 2, rank 0 (a) has version 1");
  }
}
