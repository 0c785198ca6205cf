#include "gpu/cuda/card.hpp"

#include <array>
#include <chrono>
#include <cstring>
#include <stdexcept>

#include "gpu/cuda/check.hpp"
#include "gpu/cuda/cublas.hpp"
#include "gpu/cuda/kernel_table.hpp"
#include "gpu/kernels/mailbox.hpp"

namespace dodeca::gpu::cuda {

namespace {

constexpr std::size_t kAlign = 256;
constexpr std::size_t kCublasBytes = std::size_t{32} << 20;  // what cuBLAS asks for on the largest cards
constexpr std::uint32_t kSharedWithoutAsking = 48 << 10;     // bytes of shared memory that every kernel may have

std::size_t rounded(std::size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }
cudaStream_t raw(const Stream& stream) { return static_cast<cudaStream_t>(stream.handle()); }
cudaEvent_t raw(const Event& event) { return static_cast<cudaEvent_t>(event.handle()); }

class Card final : public Device {
 public:
  Card(int number, const DeviceOptions& options);
  ~Card() override;

  DeviceInfo info() const override;
  DeviceMemory allocate(std::size_t bytes) override;
  PinnedMemory allocate_pinned(std::size_t bytes) override;
  RegisteredRange register_host(void* begin, std::size_t bytes) override;

  Stream make_stream() override;
  Event make_event() override;
  void record(const Event& event, const Stream& stream) override {
    use();
    verify(cudaEventRecord(raw(event), raw(stream)), "recording an event");
  }
  void wait(const Stream& stream, const Event& event) override {
    use();
    verify(cudaStreamWaitEvent(raw(stream), raw(event), 0), "waiting for an event");
  }
  void synchronize(const Stream& stream) override {
    use();
    verify(cudaStreamSynchronize(raw(stream)), "the work of a stream");
  }
  void synchronize() override {
    use();
    verify(cudaDeviceSynchronize(), "the work of all streams");
  }
  bool finished(const Event& event) override;

  void copy_to_device(const Stream& stream, void* device, const void* host, std::size_t bytes) override {
    copy(stream, device, host, bytes, cudaMemcpyHostToDevice);
  }
  void copy_to_host(const Stream& stream, void* host, const void* device, std::size_t bytes) override {
    copy(stream, host, device, bytes, cudaMemcpyDeviceToHost);
  }
  void copy_on_device(const Stream& stream, void* to, const void* from, std::size_t bytes) override {
    copy(stream, to, from, bytes, cudaMemcpyDeviceToDevice);
  }
  void fill(const Stream& stream, void* device, std::uint8_t value, std::size_t bytes) override {
    use();
    verify(cudaMemsetAsync(device, value, bytes, raw(stream)), "filling " + std::to_string(bytes) + " bytes");
  }
  void launch(const Stream& stream, KernelId kernel, const Grid& grid, const void* args,
              std::size_t args_bytes) override;
  void multiply(const Stream& stream, const Bf16Gemm& gemm) override;

  void begin_capture(const Stream& stream) override {
    use();
    verify(cudaStreamBeginCapture(raw(stream), cudaStreamCaptureModeThreadLocal), "beginning a capture");
  }
  Graph end_capture(const Stream& stream) override;
  void launch(const Stream& stream, const Graph& graph) override {
    use();
    verify(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph.handle()), raw(stream)), "launching a graph");
  }

  void signal(const Stream& stream, Flag* flag, std::uint32_t value) override {
    Device::launch<KernelId::signal_flag>(stream, kFlagGrid, {.flag = flag, .value = value});
  }
  void wait_flag(const Stream& stream, const Flag* flag, std::uint32_t value) override {
    auto* const give_up = reinterpret_cast<const Flag*>(give_up_.data());
    Device::launch<KernelId::await_flag>(stream, kFlagGrid, {.flag = flag, .give_up = give_up, .value = value});
  }
  void host_wait(const Flag* flag, std::uint32_t value, double seconds) override;

 private:
  void release(Resource kind, void* handle, std::size_t bytes) noexcept override;
  // The card is the calling thread's.
  void use() const { verify(cudaSetDevice(number_), "using the card"); }
  void verify(cudaError_t error, const std::string& what) const { check(error, what, name_); }
  void copy(const Stream& stream, void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind);

  int number_;
  std::string name_;  // "card 0 (NVIDIA ...)"
  std::array<std::uint32_t, kKernels> shared_allowed_{};
  PinnedMemory give_up_;  // a Flag: set when the device is closed
  Stream watched_;        // empty; asked whether the card is still well
  DeviceMemory cublas_memory_;
  std::unique_ptr<Cublas> cublas_;
};

Card::Card(int number, const DeviceOptions& options) : Device(options.memory_limit), number_(number) {
  name_ = "card " + std::to_string(number) + " (" + info_of(number).name + ")";
  use();
  // A context for this card, or the reason why there is none: busy, in exclusive use, out of memory.
  verify(cudaFree(nullptr), "starting");
  shared_allowed_.fill(kSharedWithoutAsking);
  // A kernel that is loaded when it is first launched may have to wait for those that run: for ever, when one of them waits
  // for a flag of ours (CUDA programming guide, lazy loading).
  for (int kernel = 0; kernel < kKernels; ++kernel) {
    cudaFuncAttributes attributes{};
    verify(cudaFuncGetAttributes(&attributes, kernel_of(static_cast<KernelId>(kernel)).entry),
           "loading " + std::string(name_of(static_cast<KernelId>(kernel))));
  }
  give_up_ = allocate_pinned(sizeof(Flag));
  watched_ = make_stream();
}

Card::~Card() {
  write_flag(reinterpret_cast<Flag*>(give_up_.data()), 1);
  static_cast<void>(cudaSetDevice(number_));
  static_cast<void>(cudaDeviceSynchronize());
  cublas_.reset();
  cublas_memory_.reset();
  watched_.reset();
  give_up_.reset();
}

DeviceInfo Card::info() const {
  use();
  DeviceInfo info = info_of(number_);
  std::size_t free_bytes = 0, all_bytes = 0;
  verify(cudaMemGetInfo(&free_bytes, &all_bytes), "asking for free memory");
  info.free_bytes = free_bytes;
  info.memory_bytes = all_bytes;
  return info;
}

DeviceMemory Card::allocate(std::size_t bytes) {
  if (bytes == 0) return {};
  use();
  count_memory(rounded(bytes), name_);
  void* begin = nullptr;
  const cudaError_t error = cudaMalloc(&begin, rounded(bytes));
  if (error != cudaSuccess) {
    uncount_memory(rounded(bytes));
    static_cast<void>(cudaGetLastError());
    std::size_t free_bytes = 0, all_bytes = 0;
    static_cast<void>(cudaMemGetInfo(&free_bytes, &all_bytes));
    throw std::runtime_error(name_ + " does not give " + std::to_string(bytes) + " bytes of memory: " +
                             std::to_string(free_bytes) + " of " + std::to_string(all_bytes) + " bytes are free, " +
                             std::to_string(memory_used()) + " are taken by this program: " + text_of(error));
  }
  return {*this, begin, bytes};
}

PinnedMemory Card::allocate_pinned(std::size_t bytes) {
  if (bytes == 0) return {};
  use();
  void* begin = nullptr;
  verify(cudaHostAlloc(&begin, bytes, cudaHostAllocPortable | cudaHostAllocMapped),
         "pinning " + std::to_string(bytes) + " bytes of host memory");
  std::memset(begin, 0, bytes);
  return {*this, begin, bytes};
}

RegisteredRange Card::register_host(void* begin, std::size_t bytes) {
  use();
  const std::string what = "registering " + std::to_string(bytes) + " bytes of host memory";
  verify(cudaHostRegister(begin, bytes, cudaHostRegisterPortable | cudaHostRegisterMapped), what);
  RegisteredRange range(*this, begin, bytes);
  void* on_device = nullptr;
  verify(cudaHostGetDevicePointer(&on_device, begin, 0), what);
  if (on_device != begin) throw std::runtime_error(name_ + " sees registered host memory at another address");
  return range;
}

Stream Card::make_stream() {
  use();
  cudaStream_t stream = nullptr;
  verify(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
  return {*this, stream, 0};
}

Event Card::make_event() {
  use();
  cudaEvent_t event = nullptr;
  verify(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "making an event");
  return {*this, event, 0};
}

bool Card::finished(const Event& event) {
  use();
  const cudaError_t error = cudaEventQuery(raw(event));
  if (error == cudaErrorNotReady) return false;
  verify(error, "the work before an event");
  return true;
}

void Card::copy(const Stream& stream, void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  use();
  const char* const what = kind == cudaMemcpyHostToDevice   ? "copy_to_device"
                           : kind == cudaMemcpyDeviceToHost ? "copy_to_host"
                                                            : "copy_on_device";
  verify(cudaMemcpyAsync(to, from, bytes, kind, raw(stream)), what + (" of " + std::to_string(bytes)) + " bytes");
}

void Card::launch(const Stream& stream, KernelId kernel, const Grid& grid, const void* args, std::size_t args_bytes) {
  use();
  const CardKernel& entry = kernel_of(kernel);
  const std::string what = "launching " + std::string(name_of(kernel));
  if (args_bytes != entry.args_bytes)
    throw std::runtime_error(what + ": " + std::to_string(args_bytes) + " bytes of arguments where it has " +
                             std::to_string(entry.args_bytes));
  std::uint32_t& allowed = shared_allowed_[static_cast<int>(kernel)];
  if (grid.shared_bytes > allowed) {
    verify(cudaFuncSetAttribute(entry.entry, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                static_cast<int>(grid.shared_bytes)),
           what + " with " + std::to_string(grid.shared_bytes) + " bytes of shared memory");
    allowed = grid.shared_bytes;
  }
  void* arguments[] = {const_cast<void*>(args)};
  verify(cudaLaunchKernel(entry.entry, dim3(grid.blocks_x, grid.blocks_y, grid.blocks_z), dim3(grid.threads, 1, 1),
                          arguments, grid.shared_bytes, raw(stream)),
         what);
}

void Card::multiply(const Stream& stream, const Bf16Gemm& gemm) {
  use();
  if (cublas_ == nullptr) {
    cublas_memory_ = allocate(kCublasBytes);
    cublas_ = std::make_unique<Cublas>(name_, cublas_memory_.data(), cublas_memory_.bytes());
  }
  cublas_->multiply(raw(stream), gemm);
}

Graph Card::end_capture(const Stream& stream) {
  use();
  cudaGraph_t graph = nullptr;
  verify(cudaStreamEndCapture(raw(stream), &graph), "capturing a stream");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
  static_cast<void>(cudaGraphDestroy(graph));
  verify(error, "making a graph");
  Graph owned(*this, executable, 0);
  verify(cudaGraphUpload(executable, raw(stream)), "bringing a graph to the card");
  return owned;
}

// Spins; now and then it asks for the time, and whether the card is still well.
void Card::host_wait(const Flag* flag, std::uint32_t value, double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  double asked = 0;
  for (std::uint64_t turn = 1; !has_reached(read_flag(flag), value); ++turn) {
    __builtin_ia32_pause();
    if (turn % 1024 != 0) continue;
    const double waited = std::chrono::duration<double>(Clock::now() - begin).count();
    if (waited - asked > 0.1) {
      asked = waited;
      use();
      verify(cudaStreamQuery(raw(watched_)), "the work before a flag");
    }
    if (waited > seconds)
      throw std::runtime_error(name_ + " has not set a flag within " + std::to_string(seconds) + " s");
  }
}

void Card::release(Resource kind, void* handle, std::size_t bytes) noexcept {
  static_cast<void>(cudaSetDevice(number_));
  switch (kind) {
    case Resource::kMemory:
      static_cast<void>(cudaFree(handle));
      uncount_memory(rounded(bytes));
      break;
    case Resource::kPinned:
      static_cast<void>(cudaFreeHost(handle));
      break;
    case Resource::kRegistered:
      static_cast<void>(cudaHostUnregister(handle));
      break;
    case Resource::kStream:
      static_cast<void>(cudaStreamDestroy(static_cast<cudaStream_t>(handle)));
      break;
    case Resource::kEvent:
      static_cast<void>(cudaEventDestroy(static_cast<cudaEvent_t>(handle)));
      break;
    case Resource::kGraph:
      static_cast<void>(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(handle)));
      break;
  }
}

}  // namespace

DeviceInfo info_of(int number) {
  cudaDeviceProp properties{};
  const std::string name = "card " + std::to_string(number);
  check(cudaGetDeviceProperties(&properties, number), "asking what it is", name);
  char bus[32] = {};
  check(cudaDeviceGetPCIBusId(bus, sizeof bus, number), "asking where it is", name);
  return {.name = properties.name,
          .compute_capability = properties.major * 10 + properties.minor,
          .multiprocessors = properties.multiProcessorCount,
          .memory_bytes = properties.totalGlobalMem,
          .free_bytes = 0,
          .shared_bytes_per_block = properties.sharedMemPerBlockOptin,
          .pci_bus_id = bus};
}

std::unique_ptr<Device> open(int number, const DeviceOptions& options) {
  return std::make_unique<Card>(number, options);
}

}  // namespace dodeca::gpu::cuda
