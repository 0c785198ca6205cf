#include "gpu/emulation/emulation.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "gpu/emulation/queues.hpp"
#include "quant/float_types.hpp"

namespace dodeca::gpu::emulation {

namespace {

struct EventState {
  std::shared_ptr<Mark> last;
};

class Emulation final : public EmulatedDevice {
 public:
  explicit Emulation(const EmulationOptions& options)
      : EmulatedDevice(options.memory_limit),
        options_(options),
        block_(options.order, options.seed),
        random_(options.seed) {
    if (options.make_observer == nullptr) return;
    observer_ = options.make_observer(memory_);
    block_.set_observer(observer_.get());
  }

  DeviceInfo info() const override;
  DeviceMemory allocate(std::size_t bytes) override;
  PinnedMemory allocate_pinned(std::size_t bytes) override;
  RegisteredRange register_host(void* begin, std::size_t bytes) override;

  Stream make_stream() override { return {*this, queues_.emplace_back(std::make_unique<Queue>()).get(), 0}; }
  Event make_event() override { return {*this, new EventState, 0}; }
  void record(const Event& event, const Stream& stream) override;
  void wait(const Stream& stream, const Event& event) override;
  void synchronize(const Stream& stream) override;
  void synchronize() override;
  bool finished(const Event& event) override;

  void copy_to_device(const Stream& stream, void* device, const void* host, std::size_t bytes) override;
  void copy_to_host(const Stream& stream, void* host, const void* device, std::size_t bytes) override;
  void copy_on_device(const Stream& stream, void* to, const void* from, std::size_t bytes) override;
  void fill(const Stream& stream, void* device, std::uint8_t value, std::size_t bytes) override;
  void launch(const Stream& stream, KernelId kernel, const Grid& grid, const void* args,
              std::size_t args_bytes) override {
    launch(stream, *options_.kernels[static_cast<int>(kernel)], grid, args, args_bytes);
  }
  void launch(const Stream& stream, const Kernel& kernel, const Grid& grid, const void* args,
              std::size_t args_bytes) override;
  void multiply(const Stream& stream, const Bf16Gemm& gemm) override;

  void begin_capture(const Stream& stream) override;
  Graph end_capture(const Stream& stream) override;
  void launch(const Stream& stream, const Graph& graph) override;

  void signal(const Stream& stream, Flag* flag, std::uint32_t value) override;
  void wait_flag(const Stream& stream, const Flag* flag, std::uint32_t value) override;
  void host_wait(const Flag* flag, std::uint32_t value, double seconds) override;

 private:
  void release(Resource kind, void* handle, std::size_t bytes) noexcept override;
  void wait_for_copy(const Stream& stream, const char* what);
  static Queue& queue(const Stream& stream) { return *static_cast<Queue*>(stream.handle()); }
  void add(const Stream& stream, Item item);
  void add_work(const Stream& stream, std::function<void()> work) {
    Item item;
    item.work = std::move(work);
    add(stream, std::move(item));
  }
  void begin_wait();
  void end_wait();
  bool advance_any();
  bool advance_towards(const Flag* flag);
  int branch_of(const Queue* queue) const;

  EmulationOptions options_;
  Block block_;
  Memory memory_;
  std::unique_ptr<Observer> observer_;
  std::vector<std::unique_ptr<Queue>> queues_;
  std::mt19937_64 random_;
  std::uint64_t n_launched_ = 0;
  std::string late_failure_;  // of what could not throw; said at the next wait

  // While a stream is captured.
  std::unique_ptr<CapturedGraph> capture_;
  std::vector<const Queue*> capture_branches_;  // the streams of the branches
};

DeviceInfo Emulation::info() const {
  return {.name = "emulation",
          .compute_capability = 86,
          .multiprocessors = 8,
          .memory_bytes = memory_limit(),
          .free_bytes = memory_limit() - memory_used(),
          .shared_bytes_per_block = kSharedBytes,
          .pci_bus_id = {}};
}

std::size_t rounded(std::size_t bytes) { return (bytes + kDeviceAlign - 1) / kDeviceAlign * kDeviceAlign; }

DeviceMemory Emulation::allocate(std::size_t bytes) {
  if (bytes == 0) return {};
  count_memory(rounded(bytes), "the emulated device");
  return {*this, memory_.allocate(bytes), bytes};
}

PinnedMemory Emulation::allocate_pinned(std::size_t bytes) {
  if (bytes == 0) return {};
  void* const begin = operator new (bytes, std::align_val_t{4096});
  std::memset(begin, 0, bytes);
  memory_.add_host(begin, bytes);
  return {*this, begin, bytes};
}

RegisteredRange Emulation::register_host(void* begin, std::size_t bytes) {
  memory_.add_host(begin, bytes);
  return {*this, begin, bytes};
}

void Emulation::release(Resource kind, void* handle, std::size_t bytes) noexcept {
  switch (kind) {
    case Resource::kMemory:
      try {  // as on a card: after everything that was begun
        while (advance_any()) {
        }
      } catch (const std::exception& error) {
        late_failure_ = error.what();
      }
      uncount_memory(rounded(bytes));
      try {
        memory_.free(static_cast<std::byte*>(handle));
      } catch (const Finding& finding) {
        late_failure_ = finding.what();
      }
      break;
    case Resource::kPinned:
      memory_.remove_host(handle);
      operator delete (handle, std::align_val_t{4096});
      break;
    case Resource::kRegistered:
      memory_.remove_host(handle);
      break;
    case Resource::kStream:
      static_cast<Queue*>(handle)->closed = true;
      break;  // what it has to do is still done
    case Resource::kEvent:
      delete static_cast<EventState*>(handle);
      break;
    case Resource::kGraph:
      delete static_cast<CapturedGraph*>(handle);
      break;
  }
}

void Emulation::record(const Event& event, const Stream& stream) {
  Item item;
  item.kind = Item::kMark;
  item.mark = std::make_shared<Mark>(Mark{&queue(stream), false});
  static_cast<EventState*>(event.handle())->last = item.mark;
  add(stream, std::move(item));
}

void Emulation::wait(const Stream& stream, const Event& event) {
  Item item;
  item.kind = Item::kWaitMark;
  item.mark = static_cast<EventState*>(event.handle())->last;
  if (item.mark == nullptr) return;
  if (capture_ != nullptr) {
    const bool captured = capture_->records(*item.mark);
    if (captured && branch_of(&queue(stream)) < 0) {
      capture_branches_.push_back(&queue(stream));
      ++capture_->branches;
    }
    if (!captured && branch_of(&queue(stream)) >= 0)
      throw Finding("a captured stream waits for an event that was recorded before the capture");
  }
  add(stream, std::move(item));
}

void Emulation::add(const Stream& stream, Item item) {
  if (capture_ != nullptr) {
    const int branch = branch_of(&queue(stream));
    if (branch >= 0) {
      capture_->steps.push_back({branch, std::move(item)});
      return;
    }
  }
  queue(stream).items.push_back(std::move(item));
  if (options_.streams != Streams::kEager) return;
  while (advance(queue(stream))) {
  }
}

int Emulation::branch_of(const Queue* queue) const {
  const auto found = std::find(capture_branches_.begin(), capture_branches_.end(), queue);
  return found == capture_branches_.end() ? -1 : static_cast<int>(found - capture_branches_.begin());
}

// ---- waiting --------------------------------------------------------------------------------------------------------

// One step of any stream.
bool Emulation::advance_any() {
  for (std::size_t i = 0; i < queues_.size(); ++i)  // a step may add queues
    if (advance(*queues_[i])) return true;
  return false;
}

// One step of a stream that will signal the flag, or of any where none will.
bool Emulation::advance_towards(const Flag* flag) {
  const auto signals = [flag](const Item& item) { return item.kind == Item::kSignal && item.flag == flag; };
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    const auto& items = queues_[i]->items;
    if (std::any_of(items.begin(), items.end(), signals) && advance(*queues_[i])) return true;
  }
  return advance_any();
}

void Emulation::begin_wait() {
  if (capture_ != nullptr) throw Finding("the host waits for the device while a stream is captured");
  if (!late_failure_.empty()) throw Finding(std::exchange(late_failure_, {}));
  if (options_.streams != Streams::kShuffled) return;
  for (std::size_t i = 0; i < queues_.size(); ++i)
    for (auto steps = random_() % (queues_[i]->items.size() + 1); steps > 0 && advance(*queues_[i]); --steps) {
    }
}

void Emulation::end_wait() {
  memory_.check_red_zones();
  std::erase_if(queues_, [](const auto& queue) { return queue->closed && queue->items.empty(); });
}

// Calls `step` until `done`; a step that can do nothing waits for the host's other threads, but not for ever.
template <class Done, class Step>
void wait_until(double seconds, const char* what, Done done, Step step) {
  using Clock = std::chrono::steady_clock;
  auto last = Clock::now();
  while (!done()) {
    if (step()) {
      last = Clock::now();
      continue;
    }
    if (std::chrono::duration<double>(Clock::now() - last).count() > seconds) throw Finding(what);
    std::this_thread::yield();
  }
}

void Emulation::synchronize(const Stream& stream) {
  begin_wait();
  Queue& wanted = queue(stream);
  wait_until(
      options_.stuck_seconds, "the host waits for a stream that waits for a flag which nobody sets",
      [&] { return wanted.items.empty(); }, [&] { return advance(wanted) || advance_any(); });
  end_wait();
}

void Emulation::synchronize() {
  begin_wait();
  wait_until(
      options_.stuck_seconds, "the host waits for a stream that waits for a flag which nobody sets",
      [&] { return std::all_of(queues_.begin(), queues_.end(), [](const auto& q) { return q->items.empty(); }); },
      [&] { return advance_any(); });
  end_wait();
}

// Every question brings the event a step nearer.
bool Emulation::finished(const Event& event) {
  begin_wait();
  const std::shared_ptr<Mark> mark = static_cast<EventState*>(event.handle())->last;
  if (mark == nullptr || mark->done) return true;
  advance(*mark->queue);
  return mark->done;
}

void Emulation::host_wait(const Flag* flag, std::uint32_t value, double seconds) {
  begin_wait();
  wait_until(
      seconds, "the host waits for a flag that the device does not set",
      [&] { return has_reached(read_flag(flag), value); }, [&] { return advance_towards(flag); });
}

// ---- work -----------------------------------------------------------------------------------------------------------

void Emulation::copy_to_device(const Stream& stream, void* device, const void* host, std::size_t bytes) {
  memory_.check_range(device, bytes, "copy_to_device");
  memory_.check_host(host, "copy_to_device");
  add_work(stream, [=] { std::memcpy(device, host, bytes); });
  if (!memory_.is_host(reinterpret_cast<std::uintptr_t>(host), bytes)) wait_for_copy(stream, "copy_to_device");
}

void Emulation::copy_to_host(const Stream& stream, void* host, const void* device, std::size_t bytes) {
  memory_.check_range(device, bytes, "copy_to_host");
  memory_.check_host(host, "copy_to_host");
  add_work(stream, [=] { std::memcpy(host, device, bytes); });
  if (!memory_.is_host(reinterpret_cast<std::uintptr_t>(host), bytes)) wait_for_copy(stream, "copy_to_host");
}

// CUDA returns from copies of memory that is not pinned when they are done.
void Emulation::wait_for_copy(const Stream& stream, const char* what) {
  if (capture_ != nullptr) throw Finding(std::string(what) + " of memory that is not pinned, in a capture");
  synchronize(stream);
}

void Emulation::copy_on_device(const Stream& stream, void* to, const void* from, std::size_t bytes) {
  memory_.check_range(to, bytes, "copy_on_device");
  memory_.check_range(from, bytes, "copy_on_device");
  add_work(stream, [=] { std::memmove(to, from, bytes); });
}

void Emulation::fill(const Stream& stream, void* device, std::uint8_t value, std::size_t bytes) {
  memory_.check_range(device, bytes, "fill");
  add_work(stream, [=] { std::memset(device, value, bytes); });
}

void Emulation::launch(const Stream& stream, const Kernel& kernel, const Grid& grid, const void* args,
                       std::size_t args_bytes) {
  check_launch(kernel, grid, args_bytes);
  const auto* const begin = static_cast<const std::byte*>(args);
  add_work(stream, [this, &kernel, grid, copy = std::vector<std::byte>(begin, begin + args_bytes)] {
    alignas(64) std::byte aligned[4096];
    std::memcpy(aligned, copy.data(), copy.size());
    if (options_.lost_at > 0 && ++n_launched_ >= options_.lost_at) {
      for (const std::unique_ptr<Queue>& queue : queues_) queue->items.clear();  // nothing that was begun goes on
      throw std::runtime_error("the emulated device was lost in kernel " + std::string(kernel.name) + ", its launch " +
                               std::to_string(n_launched_));
    }
    block_.run(kernel, grid, aligned);
  });
}

void Emulation::multiply(const Stream& stream, const Bf16Gemm& gemm) {
  const auto bytes = [](std::int64_t rows, std::int64_t columns, std::size_t size) {
    return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns) * size;
  };
  memory_.check_range(gemm.a, bytes(gemm.m, gemm.k, 2), "multiply");
  memory_.check_range(gemm.b, bytes(gemm.n, gemm.k, 2), "multiply");
  memory_.check_range(gemm.c, bytes(gemm.m, gemm.n, 4), "multiply");
  add_work(stream, [gemm] {
    for (std::int64_t m = 0; m < gemm.m; ++m)
      for (std::int64_t n = 0; n < gemm.n; ++n) {
        float sum = 0.0f;
        for (std::int64_t k = 0; k < gemm.k; ++k)
          sum += quant::bf16_to_f32(gemm.a[m * gemm.k + k]) * quant::bf16_to_f32(gemm.b[n * gemm.k + k]);
        gemm.c[m * gemm.n + n] = sum;
      }
  });
}

void Emulation::signal(const Stream& stream, Flag* flag, std::uint32_t value) {
  Item item;
  item.kind = Item::kSignal;
  item.flag = flag;
  item.value = value;
  add(stream, std::move(item));
}

void Emulation::wait_flag(const Stream& stream, const Flag* flag, std::uint32_t value) {
  Item item;
  item.kind = Item::kWaitFlag;
  item.flag = const_cast<Flag*>(flag);
  item.value = value;
  add(stream, std::move(item));
}

// ---- graphs ---------------------------------------------------------------------------------------------------------

void Emulation::begin_capture(const Stream& stream) {
  if (capture_ != nullptr) throw Finding("a stream is captured already");
  capture_ = std::make_unique<CapturedGraph>();
  capture_branches_ = {&queue(stream)};
}

Graph Emulation::end_capture(const Stream& stream) {
  if (capture_ == nullptr || capture_branches_.front() != &queue(stream))
    throw Finding("the capture of a stream ends that did not begin");
  const std::unique_ptr<CapturedGraph> captured = std::exchange(capture_, nullptr);
  capture_branches_.clear();
  if (!captured->joined()) throw Finding("a captured stream was not joined by an event before the capture ended");
  return {*this, new CapturedGraph(*captured), 0};
}

void Emulation::launch(const Stream& stream, const Graph& graph) {
  const auto& captured = *static_cast<const CapturedGraph*>(graph.handle());
  std::vector<Queue*> branches{&queue(stream)};
  for (int branch = 1; branch < captured.branches; ++branch) {
    branches.push_back(queues_.emplace_back(std::make_unique<Queue>()).get());
    branches.back()->closed = true;
  }
  captured.unroll(branches);
  if (options_.streams == Streams::kEager)
    while (advance(queue(stream))) {
    }
}

}  // namespace

std::unique_ptr<EmulatedDevice> open_emulation(const EmulationOptions& options) {
  return std::make_unique<Emulation>(options);
}

}  // namespace dodeca::gpu::emulation
