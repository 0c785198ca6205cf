// A device as the runtime sees it: memory, copies, streams, events, launches, graphs and flags. No CUDA types here.
//
// Back ends: real cards (gpu/cuda, or gpu/none where the program was built without CUDA) and the emulation
// (gpu/emulation), which runs the same kernel sources on the host and finds mistakes.
//
// Order is by streams: what is given to one stream happens in that order; two streams are ordered by events alone.
// Calls that take a stream return before the work is done: memory that they name stays as it is until then. Copies
// from and to host memory that is neither pinned nor registered are allowed, and slow.
//
// Errors: std::runtime_error with one sentence that names the call, the device and the bytes. They come from set-up
// calls, from calls with wrong arguments, and where the host waits (synchronize, finished, host_wait); what went wrong
// in a kernel is reported there. A device is used by one host thread at a time, but for flags, which any thread may
// write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "gpu/kernels/grid.hpp"
#include "gpu/kernels/kernel_id.hpp"

namespace dodeca::gpu {

struct DeviceInfo {
  std::string name;
  int compute_capability = 0;  // 86 for 8.6
  int multiprocessors = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t free_bytes = 0;  // when this was asked
  std::uint64_t shared_bytes_per_block = 0;
  std::string pci_bus_id;  // "0000:41:00.0"; empty for the emulation
};

class Device;

enum class Resource { kMemory, kPinned, kRegistered, kStream, kEvent, kGraph };

// Something of a device, given back when this goes. The device must live longer.
template <Resource kind>
class Owned {
 public:
  Owned() = default;
  Owned(Device& device, void* handle, std::size_t bytes) : device_(&device), handle_(handle), bytes_(bytes) {}
  Owned(Owned&& other) noexcept { swap(other); }
  Owned& operator=(Owned&& other) noexcept {
    Owned(std::move(other)).swap(*this);
    return *this;
  }
  ~Owned() { reset(); }

  void reset() noexcept;
  void* handle() const { return handle_; }
  explicit operator bool() const { return handle_ != nullptr; }
  // Memory: the first byte, in the device's address space where it is the device's, and how many were asked for.
  std::byte* data() const { return static_cast<std::byte*>(handle_); }
  std::size_t bytes() const { return bytes_; }

 private:
  void swap(Owned& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(handle_, other.handle_);
    std::swap(bytes_, other.bytes_);
  }
  Device* device_ = nullptr;
  void* handle_ = nullptr;
  std::size_t bytes_ = 0;
};

using DeviceMemory = Owned<Resource::kMemory>;
using PinnedMemory = Owned<Resource::kPinned>;         // host memory that the device reads and writes too
using RegisteredRange = Owned<Resource::kRegistered>;  // the caller's memory, pinned while this lives
using Stream = Owned<Resource::kStream>;
using Event = Owned<Resource::kEvent>;
using Graph = Owned<Resource::kGraph>;

// A 32-bit word in pinned memory through which host and device tell each other how far they are. Values go up; a wait
// for v ends when the word is v or has gone beyond it (difference below 2^31). Starts at zero.
using Flag = std::uint32_t;
inline bool has_reached(std::uint32_t word, std::uint32_t value) {
  return static_cast<std::int32_t>(word - value) >= 0;
}
inline std::uint32_t read_flag(const Flag* flag) { return __atomic_load_n(flag, __ATOMIC_ACQUIRE); }
// What this host thread has written before is visible to whoever sees the value.
inline void write_flag(Flag* flag, std::uint32_t value) { __atomic_store_n(flag, value, __ATOMIC_RELEASE); }

// c[m][n] = sum over k of a[m][k] * b[n][k]: BF16 times BF16, sums and results in float32. All rows contiguous.
struct Bf16Gemm {
  const std::uint16_t* a = nullptr;  // [m, k], bf16
  const std::uint16_t* b = nullptr;  // [n, k], bf16
  float* c = nullptr;                // [m, n]
  std::int64_t m = 0, n = 0, k = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  virtual DeviceInfo info() const = 0;

  // ---- memory -------------------------------------------------------------------------------------------------------
  // At least 256 bytes aligned, undefined contents. Refused with numbers beyond memory_limit() or what the card has
  // free.
  virtual DeviceMemory allocate(std::size_t bytes) = 0;
  // Host memory, zeros, that kernels may read and write by the same address.
  virtual PinnedMemory allocate_pinned(std::size_t bytes) = 0;
  // Pins memory of the caller's, which must outlive the range.
  virtual RegisteredRange register_host(void* begin, std::size_t bytes) = 0;
  // Bytes of device memory given out now, as the device rounds them, and how many may be.
  std::uint64_t memory_used() const { return memory_used_; }
  std::uint64_t memory_limit() const { return memory_limit_; }

  // ---- streams and events -------------------------------------------------------------------------------------------
  virtual Stream make_stream() = 0;
  virtual Event make_event() = 0;
  virtual void record(const Event& event, const Stream& stream) = 0;
  // What comes next in `stream` happens after what was there when `event` was last recorded; never recorded: at once.
  virtual void wait(const Stream& stream, const Event& event) = 0;
  // The host waits.
  virtual void synchronize(const Stream& stream) = 0;
  virtual void synchronize() = 0;
  virtual bool finished(const Event& event) = 0;

  // ---- work ---------------------------------------------------------------------------------------------------------
  virtual void copy_to_device(const Stream& stream, void* device, const void* host, std::size_t bytes) = 0;
  virtual void copy_to_host(const Stream& stream, void* host, const void* device, std::size_t bytes) = 0;
  virtual void copy_on_device(const Stream& stream, void* to, const void* from, std::size_t bytes) = 0;
  // Every byte becomes `value`.
  virtual void fill(const Stream& stream, void* device, std::uint8_t value, std::size_t bytes) = 0;
  virtual void launch(const Stream& stream, KernelId kernel, const Grid& grid, const void* args,
                      std::size_t args_bytes) = 0;
  // The same with the kernel's own type of arguments (gpu/kernels/<op>.hpp):
  //   device.launch<KernelId::add_rows>(stream, add_rows_grid(args), args);
  template <KernelId kernel>
  void launch(const Stream& stream, const Grid& grid, const KernelArgs<kernel>& args) {
    static_assert(std::is_trivially_copyable_v<KernelArgs<kernel>>);
    launch(stream, kernel, grid, &args, sizeof args);
  }
  // Throws where the library that multiplies (cuBLAS) is missing.
  virtual void multiply(const Stream& stream, const Bf16Gemm& gemm) = 0;

  // ---- graphs -------------------------------------------------------------------------------------------------------
  // What is given to `stream` from here on, and to streams that wait for events recorded there, is not done but kept.
  // All of it must have come together in `stream` again, by events, when the capture ends. Arguments are kept as they
  // are.
  virtual void begin_capture(const Stream& stream) = 0;
  virtual Graph end_capture(const Stream& stream) = 0;
  virtual void launch(const Stream& stream, const Graph& graph) = 0;

  // ---- flags --------------------------------------------------------------------------------------------------------
  // The device writes the flag when everything before it in the stream is done and visible to the host.
  virtual void signal(const Stream& stream, Flag* flag, std::uint32_t value) = 0;
  // The stream goes on when the flag has reached the value, and sees what the host wrote before.
  virtual void wait_flag(const Stream& stream, const Flag* flag, std::uint32_t value) = 0;
  // The host waits until the flag has reached the value, without a call of the driver; an error after `seconds`.
  virtual void host_wait(const Flag* flag, std::uint32_t value, double seconds) = 0;

 protected:
  explicit Device(std::uint64_t memory_limit) : memory_limit_(memory_limit) {}
  // Counts, or throws when `bytes` more are not allowed.
  void count_memory(std::size_t bytes, std::string_view device);
  void uncount_memory(std::size_t bytes) { memory_used_ -= bytes; }

 private:
  template <Resource>
  friend class Owned;
  virtual void release(Resource kind, void* handle, std::size_t bytes) noexcept = 0;

  std::uint64_t memory_limit_;
  std::uint64_t memory_used_ = 0;
};

template <Resource kind>
void Owned<kind>::reset() noexcept {
  if (handle_ != nullptr) device_->release(kind, handle_, bytes_);
  device_ = nullptr;
  handle_ = nullptr;
  bytes_ = 0;
}

// Cards that can be used, in the driver's order; empty where why_no_devices() says something.
std::vector<DeviceInfo> devices();
// One sentence without a full stop: what is missing for a card to be used. Empty when there is one.
std::string why_no_devices();
// What kernels for cards were compiled with, for --version: "CUDA 13.0, sm_80 sm_90" or "none".
std::string backend_name();

struct DeviceOptions {
  std::uint64_t memory_limit = ~std::uint64_t{0};  // bytes of device memory that may be given out
};
// `name`: the number of a card ("0"), or "emulation".
std::unique_ptr<Device> open_device(std::string_view name, const DeviceOptions& options);

}  // namespace dodeca::gpu
