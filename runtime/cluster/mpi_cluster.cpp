// The one file that knows MPI. One thread at a time calls it (MPI_THREAD_SERIALIZED): the last member to arrive at a
// barrier, or the thread that runs the pass.
#include <fmt/core.h>

#include <algorithm>

#include "runtime/base/error.hpp"
#include "runtime/cluster/cluster.hpp"
#include "runtime/cluster/led_pass.hpp"
#include "runtime/cluster/packed_part.hpp"

#ifdef DODECA_MPI

#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <thread>

namespace dodeca::runtime::cluster {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kShareTag = 1, kTellTag = 2;
// Of a part at once: little enough to need no place in the plan of memory, and to arrive within the patience of ranks on
// any network; much enough that what a message costs does not count.
constexpr std::size_t kSliceBytes = std::size_t{1} << 20;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// Looks often at first, then leaves the processor to others, then sleeps between looks.
class Patience {
 public:
  // sleeps_after: seconds in which answers are expected to come.
  explicit Patience(double sleeps_after) : sleeps_after_(sleeps_after) {}
  void restart() { n_ = 0, begin_ = last_ = Clock::now(); }
  // Seconds since the begin, 0 at first.
  double wait() {
    if (++n_ < 200) return 0;
    const Clock::time_point now = Clock::now();
    if (now - last_ > std::chrono::seconds(1)) begin_ = now;  // this process was stopped, and knows nothing of others
    last_ = now;
    const double waited = seconds_since(begin_);
    if (waited < sleeps_after_)
      ::sched_yield();
    else
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    return waited;
  }

 private:
  double sleeps_after_;
  int n_ = 0;
  Clock::time_point begin_ = Clock::now(), last_ = begin_;
};

class MpiCluster final : public Cluster, public exec::Exchange {
 public:
  explicit MpiCluster(std::function<void()> poll) : poll_(std::move(poll)) {
    int given = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &given);
    if (given < MPI_THREAD_SERIALIZED)
      throw Error(ErrorKind::kUnsupported, "this MPI library allows no calls from several threads");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    parts_.resize(static_cast<std::size_t>(size_));
    slices_.resize(static_cast<std::size_t>(size_) * kSliceBytes);
    requests_.reserve(static_cast<std::size_t>(size_) * 2);
    peers_.reserve(static_cast<std::size_t>(size_) * 2);
    done_.reserve(static_cast<std::size_t>(size_) * 2);
    names_.resize(static_cast<std::size_t>(size_));
    const std::vector<std::string> hosts = gather(host_name());
    for (int r = 0; r < size_; ++r)
      names_[static_cast<std::size_t>(r)] = name_of_rank(r, hosts[static_cast<std::size_t>(r)]);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const std::string& name_of(int rank) const override { return names_[static_cast<std::size_t>(rank)]; }
  exec::Exchange& exchange() override { return *this; }
  bool failed() const { return !lost_.empty(); }
  // The first rank that is still there speaks. Where a connection broke, what watches the lost rank knows more.
  bool silent() const override {
    if (!failed()) return rank_ > 0;
    int first = 0;
    while (std::find(lost_.begin(), lost_.end(), first) != lost_.end()) ++first;
    return broke_ || rank_ != first;
  }

  std::vector<std::string> gather(const std::string& own) override {
    const auto n = static_cast<std::size_t>(size_);
    const int bytes = static_cast<int>(own.size());
    std::vector<int> sizes(n), places(n);
    MPI_Request request = MPI_REQUEST_NULL;
    wait_for(MPI_Iallgather(&bytes, 1, MPI_INT, sizes.data(), 1, MPI_INT, MPI_COMM_WORLD, &request), request);
    int all = 0;
    for (std::size_t r = 0; r < n; ++r) {
      places[r] = all;
      all += sizes[r];
    }
    std::string joined(static_cast<std::size_t>(all), '\0');
    wait_for(MPI_Iallgatherv(own.data(), bytes, MPI_BYTE, joined.data(), sizes.data(), places.data(), MPI_BYTE,
                             MPI_COMM_WORLD, &request),
             request);
    std::vector<std::string> result;
    for (std::size_t r = 0; r < n; ++r)
      result.push_back(joined.substr(static_cast<std::size_t>(places[r]), static_cast<std::size_t>(sizes[r])));
    return result;
  }

  void tell(const std::string& bytes) override {
    if (failed()) return;  // the pass says so
    for (int r = 0; r < size_; ++r) {
      if (r != rank_) send(bytes.data(), bytes.size(), r, kTellTag);
    }
    wait_all();
    check();
  }

  std::string hear() override {
    Patience patience(0.02);
    MPI_Status status;
    int there = 0, n = 0;
    while (MPI_Iprobe(0, kTellTag, MPI_COMM_WORLD, &there, &status) == MPI_SUCCESS && there == 0) patience.wait();
    if (there == 0) lose({0}, true);
    check();
    MPI_Get_count(&status, MPI_BYTE, &n);
    std::string bytes(static_cast<std::size_t>(n), '\0');
    receive(bytes.data(), bytes.size(), 0, kTellTag);
    wait_all();
    check();
    return bytes;
  }

  bool share(std::span<const exec::Region> regions) noexcept override {
    if (failed()) return false;
    const Clock::time_point begin = Clock::now();
    for (int r = 0; r < size_; ++r) parts_[static_cast<std::size_t>(r)] = PackedPart(regions, r);
    bytes_sent_ += static_cast<double>(parts_[static_cast<std::size_t>(rank_)].left()) * (size_ - 1);
    while (std::any_of(parts_.begin(), parts_.end(), [](const PackedPart& part) { return part.left() > 0; })) {
      if (!share_slices()) return false;
    }
    ++n_exchanges_;
    exchange_seconds_ += seconds_since(begin);
    return true;
  }

  std::string statistics() const override {
    const double n = std::max(1.0, static_cast<double>(n_exchanges_));
    return fmt::format("exchanges with {} ranks: {}, {:.1f} KB sent and {:.3f} ms waited for each", size_ - 1,
                       n_exchanges_, bytes_sent_ / n / 1e3, exchange_seconds_ / n * 1e3);
  }

  void check() override {
    if (!failed()) return;
    std::string names = name_of(lost_.front());
    for (std::size_t i = 1; i < lost_.size(); ++i) names += " and " + name_of(lost_[i]);
    const bool several = lost_.size() > 1;
    const std::string what =
        broke_ ? fmt::format("the connection to {} broke", several ? "one of them" : "it")
               : fmt::format("{} has not answered for {:.0f} s", several ? "one of them" : "it", kPatienceSeconds);
    throw Error(ErrorKind::kIo, fmt::format("{} {} lost: {}", names, several ? "are" : "is", what));
  }

 private:
  // The next slice of every part. All ranks know the sizes, as they have the same regions.
  bool share_slices() noexcept {
    for (int r = 0; r < size_; ++r) {
      if (r != rank_)
        receive(buffer(r), std::min(kSliceBytes, parts_[static_cast<std::size_t>(r)].left()), r, kShareTag);
    }
    const std::size_t own = parts_[static_cast<std::size_t>(rank_)].pack(buffer(rank_), kSliceBytes);
    for (int r = 0; r < size_; ++r) {
      if (r != rank_) send(buffer(rank_), own, r, kShareTag);
    }
    wait_all();
    if (failed()) return false;
    for (int r = 0; r < size_; ++r) {
      if (r != rank_) parts_[static_cast<std::size_t>(r)].unpack(buffer(r), kSliceBytes);
    }
    return true;
  }
  std::byte* buffer(int rank) { return slices_.data() + static_cast<std::size_t>(rank) * kSliceBytes; }

  void send(const void* data, std::size_t bytes, int to, int tag) {
    if (bytes > 0) note(MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, to, tag, MPI_COMM_WORLD, &added(to)));
  }
  void receive(void* data, std::size_t bytes, int from, int tag) {
    if (bytes > 0) note(MPI_Irecv(data, static_cast<int>(bytes), MPI_BYTE, from, tag, MPI_COMM_WORLD, &added(from)));
  }
  MPI_Request& added(int peer) {
    peers_.push_back(peer);
    return requests_.emplace_back(MPI_REQUEST_NULL);
  }
  void note(int code) {
    if (code != MPI_SUCCESS) lose({peers_.back()}, true);
  }
  void lose(std::vector<int> ranks, bool broke) {
    if (failed()) return;
    lost_ = std::move(ranks);
    broke_ = broke;
  }

  // For what send() and receive() have begun. Whatever arrives begins the patience anew.
  void wait_all() {
    Patience patience(0.1);
    const int n = static_cast<int>(requests_.size());
    done_.resize(requests_.size());
    for (int n_open = n, n_done = 0; n_open > 0 && !failed(); n_open -= n_done) {
      if (MPI_Testsome(n, requests_.data(), &n_done, done_.data(), MPI_STATUSES_IGNORE) != MPI_SUCCESS)
        lose(open_peers(), true);
      else if (n_done > 0)
        patience.restart();
      else if (patience.wait() > kPatienceSeconds)
        lose(open_peers(), false);
    }
    requests_.clear();
    peers_.clear();
  }
  // Those of whom something has not come or gone yet: which of them is the reason, nobody knows here.
  std::vector<int> open_peers() const {
    std::vector<int> open;
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      if (requests_[i] != MPI_REQUEST_NULL) open.push_back(peers_[i]);
    }
    std::sort(open.begin(), open.end());
    open.erase(std::unique(open.begin(), open.end()), open.end());
    return open;
  }

  // code: of what began the request.
  void wait_for(int code, MPI_Request& request) {
    Patience patience(0.001);
    for (int done = 0; code == MPI_SUCCESS; patience.wait()) {
      code = MPI_Test(&request, &done, MPI_STATUS_IGNORE);
      if (code == MPI_SUCCESS && done != 0) return;
      if (poll_) poll_();
    }
    throw Error(ErrorKind::kIo, "the connection to another rank broke");
  }

  std::function<void()> poll_;
  int rank_ = 0, size_ = 1;
  std::vector<std::string> names_;
  // By rank, those of this one for what it sends. They are made before anything is loaded, as share() may not throw.
  std::vector<PackedPart> parts_;
  std::vector<std::byte> slices_;
  std::vector<MPI_Request> requests_;
  std::vector<int> peers_;  // of each request
  std::vector<int> done_;   // requests that were found done at once
  std::vector<int> lost_;   // ranks, of which one is the reason
  bool broke_ = false;      // a connection to them; otherwise they were silent
  std::uint64_t n_exchanges_ = 0;
  double bytes_sent_ = 0, exchange_seconds_ = 0;
};

std::unique_ptr<MpiCluster>& the_cluster() {
  static std::unique_ptr<MpiCluster> cluster;
  return cluster;
}

}  // namespace

Cluster* join(const std::function<void()>& poll) {
  if (n_started() <= 1) return nullptr;
  if (the_cluster() == nullptr) the_cluster() = std::make_unique<MpiCluster>(poll);
  return the_cluster().get();
}

Cluster* joined() { return the_cluster().get(); }

int leave(int exit_code) {
  if (the_cluster() == nullptr) return exit_code;
  MpiCluster& cluster = *the_cluster();
  std::fflush(stdout);
  // mpirun then ends the others, wherever they are. MPI_Finalize() would wait for them, and they perhaps for this one.
  if (cluster.failed() || exit_code != 0) ::_exit(exit_code);
  try {
    if (cluster.rank() == 0) cluster.tell(ending());
    MPI_Finalize();
  } catch (const Error&) {
    ::_exit(exit_code);
  }
  return exit_code;
}

}  // namespace dodeca::runtime::cluster

#else

namespace dodeca::runtime::cluster {

Cluster* join(const std::function<void()>&) {
  if (n_started() <= 1) return nullptr;
  throw Error(
      ErrorKind::kUnsupported,
      fmt::format("mpirun started {} processes, and this build was made without MPI (DODECA_MPI)", n_started()));
}

Cluster* joined() { return nullptr; }
int leave(int exit_code) { return exit_code; }

}  // namespace dodeca::runtime::cluster

#endif
