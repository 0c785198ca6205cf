#include "runtime/cluster/led_pass.hpp"

#include <cstring>
#include <type_traits>

#include "runtime/base/error.hpp"

namespace dodeca::runtime::cluster {
namespace {

enum class Operation : std::int32_t { kBegin, kForward, kTruncate, kFork, kRest, kEnd };

// What rank 0 tells; rows follow it. The ranks run one build on machines of one kind, so that the bytes mean the same.
struct Told {
  Operation operation = Operation::kEnd;
  std::int32_t prompt = 0, sequence = 0, to = 0;
  std::int64_t n = 0;
};
static_assert(std::is_trivially_copyable_v<Told> && std::is_trivially_copyable_v<exec::Row>);

std::string bytes_of(const Told& told, std::span<const exec::Row> rows = {}) {
  std::string bytes(sizeof told + rows.size_bytes(), '\0');
  std::memcpy(bytes.data(), &told, sizeof told);
  if (!rows.empty()) std::memcpy(bytes.data() + sizeof told, rows.data(), rows.size_bytes());
  return bytes;
}

Told told_in(const std::string& bytes) {
  Told told;
  if (bytes.size() < sizeof told) throw Error(ErrorKind::kIo, "rank 0 told something that is too short");
  std::memcpy(&told, bytes.data(), sizeof told);
  return told;
}

}  // namespace

void LeadingPass::truncate(std::int32_t sequence, std::int64_t n) {
  cluster_.tell(bytes_of({.operation = Operation::kTruncate, .sequence = sequence, .n = n}));
  own_->truncate(sequence, n);
}

void LeadingPass::fork(std::int32_t src, std::int32_t dst, std::int64_t n) {
  cluster_.tell(bytes_of({.operation = Operation::kFork, .sequence = src, .to = dst, .n = n}));
  own_->fork(src, dst, n);
}

void LeadingPass::forward(std::span<const exec::Row> rows, exec::ForwardOutput& out, bool prompt) {
  cluster_.tell(bytes_of({.operation = Operation::kForward, .prompt = prompt}, rows));
  own_->forward(rows, out, prompt);
}

void LeadingPass::rest() {
  try {
    cluster_.tell(bytes_of({.operation = Operation::kRest}));
  } catch (const Error&) {  // also called where an engine ends, for whatever reason; the next pass throws
  }
  own_->rest();
}

void follow(Cluster& cluster, engine::ForwardPass& own) {
  std::vector<exec::Row> rows;
  exec::ForwardOutput out;
  while (true) {
    const std::string bytes = cluster.hear();
    const Told told = told_in(bytes);
    switch (told.operation) {
      case Operation::kForward:
        rows.resize((bytes.size() - sizeof told) / sizeof(exec::Row));
        std::memcpy(rows.data(), bytes.data() + sizeof told, rows.size() * sizeof(exec::Row));
        own.forward(rows, out, told.prompt != 0);
        break;
      case Operation::kTruncate:
        own.truncate(told.sequence, told.n);
        break;
      case Operation::kFork:
        own.fork(told.sequence, told.to, told.n);
        break;
      case Operation::kRest:
        own.rest();
        break;
      case Operation::kBegin:
        break;
      case Operation::kEnd:
        return;
    }
  }
}

bool hear_begin(Cluster& cluster) { return told_in(cluster.hear()).operation == Operation::kBegin; }
void tell_begin(Cluster& cluster) { cluster.tell(bytes_of({.operation = Operation::kBegin})); }
std::string ending() { return bytes_of({.operation = Operation::kEnd}); }

}  // namespace dodeca::runtime::cluster
