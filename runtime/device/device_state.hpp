// What the blocks of an executor share on a device: its memory, one stream, the meeting with the host.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "gpu/device.hpp"
#include "runtime/device/device_attention.hpp"
#include "runtime/device/device_blocks.hpp"
#include "runtime/device/device_ffn.hpp"
#include "runtime/device/hot_experts.hpp"
#include "runtime/device/offload.hpp"
#include "runtime/device/segment.hpp"
#include "runtime/device/streamed_experts.hpp"

namespace dodeca::runtime::device {

struct DeviceState {
  Sides sides = Sides::kBoth;
  std::shared_ptr<gpu::Device> device;
  Plan plan;
  Offload offload;
  gpu::Stream stream;
  std::int32_t multiprocessors;
  DeviceWeights weights;
  HotExperts hot;
  StreamedExperts streamed;
  std::unique_ptr<DeviceCache> cache;

  // Of the executor that exists now.
  std::optional<DeviceSpace> space;
  std::optional<DeviceOps> ops;
  std::unique_ptr<Meeting> meeting;
  std::vector<std::unique_ptr<Segment>> segments;
  std::vector<std::unique_ptr<DeviceAttention>> attention;
  std::vector<std::unique_ptr<DeviceFfn>> ffn;
  struct Head {
    gpu::PinnedMemory memory;
    float *logits = nullptr, *rows = nullptr, *factors = nullptr;  // of kLogitRows rows
  } head;
  gpu::PinnedMemory row_facts;  // positions, sequences, block table: as the arrays on the device
  std::int64_t table_stride = 0;
  std::vector<RowRun> runs;  // of the pass
  exec::KvCache* kv_cache = nullptr;

  DeviceState(std::shared_ptr<gpu::Device> d, const Plan& p, const Offload& o);

  std::vector<std::int64_t> attention_layers() const;

  ~DeviceState() { end_executor(); }

  // Room for an executor of these sizes; what the one before had is given back. The blocks keep what is returned, the
  // pinned ranges of the executor's work space, which must go before that space does.
  void end_executor();
  using Ranges = std::shared_ptr<std::vector<gpu::RegisteredRange>>;
  Ranges begin_executor(const exec::RunSizes& sizes, exec::KvCache& its_cache, exec::Workspace& host);
  // Launches. Where the rows are in their sequences and these in the cache, and the residual stream.
  void send_rows(const exec::Pass& pass);
  void upload(const exec::Pass& pass);
  // Rows, ids and weights for the processors.
  void copy_routed(std::int64_t n_rows, exec::Workspace& host);
  // kLogitRows of the wanted rows, from the `first` on: normalized, and their logits, into pinned memory; and from there to
  // the pass. A copy to other memory would wait for the device, which may wait for us.
  void launch_head(const exec::Pass& pass, std::size_t first);
  void collect_head(const exec::Pass& pass, std::size_t first);
};

}  // namespace dodeca::runtime::device
