#include "runtime/device/device_ops.hpp"

#include "gpu/kernels/add_rows.hpp"
#include "gpu/kernels/multiply.hpp"
#include "gpu/kernels/quantize_rows.hpp"
#include "gpu/kernels/weigh_rows.hpp"
#include "quant/check.hpp"

namespace dodeca::runtime::device {
namespace {

using gpu::KernelId;

gpu::MultiplyArgs args_of(const DeviceMatrix& weight, std::int64_t n_rows, std::int64_t n_groups) {
  gpu::MultiplyArgs args{};
  args.weights = weight.data;
  args.slice_bytes = static_cast<std::int64_t>(weight.slice_bytes);
  args.n_in = static_cast<std::int32_t>(weight.n_in);
  args.n_out = static_cast<std::int32_t>(weight.n_out);
  args.n_rows = static_cast<std::int32_t>(n_rows);
  args.n_groups = static_cast<std::int32_t>(n_groups);
  return args;
}

gpu::MultiplyLaunch plan_launch(const DeviceMatrix& weight, const gpu::MultiplyArgs& args,
                                std::int32_t multiprocessors) {
  return gpu::plan_multiply(weight.dtype, args, multiprocessors, static_cast<std::int32_t>(weight.piece_columns));
}

gpu::RowCopies copies_of(const DeviceRows& rows) {
  return {rows.q8_256, rows.q8_32, rows.q8_256_stride, rows.q8_32_stride};
}

}  // namespace

SplitSpace split_space(const DeviceMatrix& weight, std::int64_t n_rows, std::int64_t n_groups,
                       std::int32_t multiprocessors) {
  const gpu::MultiplyLaunch launch = plan_launch(weight, args_of(weight, n_rows, n_groups), multiprocessors);
  return {launch.n_partials, launch.n_counters};
}

void DeviceOps::multiply(const DeviceProduct& p) const {
  gpu::MultiplyArgs args = args_of(p.weight, p.n_rows, p.n_groups);
  const quant::ActFormat format = p.weight.layout->act;
  const std::int64_t stride = p.acts.act_stride(format);
  args.acts = p.acts.acts(format);
  args.slices = p.slices;
  args.group_begin = p.group_begin;
  args.act_rows = p.act_rows;
  args.factors = p.with_factors ? p.acts.factors : nullptr;
  args.out = p.out;
  args.act_stride = stride * p.act_rows_per_row;
  args.act_group_stride = stride * p.act_rows_per_group;
  args.out_stride = p.out_stride;
  args.out_group_stride = p.out_group_stride;
  gpu::MultiplyLaunch launch = plan_launch(p.weight, args, multiprocessors_);
  DODECA_CHECK(launch.n_partials * sizeof(float) <= space_.array_bytes(DeviceArray::kSplitSums), launch.n_partials);
  DODECA_CHECK(launch.n_counters * sizeof(std::uint32_t) <= space_.array_bytes(DeviceArray::kCounters),
               launch.n_counters);
  launch.args.partials = space_.array<float>(DeviceArray::kSplitSums);
  launch.args.counters = space_.array<std::uint32_t>(DeviceArray::kCounters);
  device_.launch(stream_, launch.kernel, launch.grid, &launch.args, sizeof launch.args);
}

void DeviceOps::weigh(const DeviceNorm& norm) const {
  gpu::WeighRowsArgs args{};
  args.residual = norm.x.rows;
  args.residual_stride = norm.x.stride;
  args.addition = norm.addition != nullptr ? norm.addition->rows : norm.bias;
  args.addition_stride = norm.addition != nullptr ? norm.addition->stride : 0;
  args.weight = norm.weight;
  args.weighed = norm.out.rows;
  args.weighed_stride = norm.out.stride;
  args.factors = norm.out.factors;
  args.copies = copies_of(norm.out);
  args.n_rows = static_cast<std::int32_t>(norm.n_rows);
  args.n = static_cast<std::int32_t>(norm.n);
  args.eps = norm.eps;
  device_.launch<KernelId::weigh_rows>(stream_, gpu::weigh_rows_grid(args), args);
}

void DeviceOps::normalize_residual(const ModelConfig& config, const float* norm, std::int64_t n,
                                   const DeviceRows* addition) const {
  weigh({.x = space_.rows(exec::RowBuffer::kResidual),
         .out = space_.rows(exec::RowBuffer::kInput),
         .weight = norm,
         .n_rows = n,
         .n = config.hidden_size,
         .eps = static_cast<float>(config.rms_norm_eps),
         .addition = addition});
}

void DeviceOps::quantize(const DeviceRows& x, std::int64_t n_rows, std::int64_t n) const {
  if (x.q8_256 == nullptr && x.q8_32 == nullptr) return;
  gpu::QuantizeRowsArgs args{};
  args.in = x.rows;
  args.in_stride = x.stride;
  args.copies = copies_of(x);
  args.n_rows = static_cast<std::int32_t>(n_rows);
  args.n = static_cast<std::int32_t>(n);
  device_.launch<KernelId::quantize_rows>(stream_, gpu::quantize_rows_grid(args), args);
}

void DeviceOps::swiglu(const DeviceRows& gate, const DeviceRows& up, const DeviceRows& out, std::int64_t n_rows,
                       std::int64_t n) const {
  gpu::SwigluRowsArgs args{};
  args.gate = gate.rows;
  args.up = up.rows;
  args.out = out.rows;
  args.gate_stride = gate.stride;
  args.up_stride = up.stride;
  args.out_stride = out.stride;
  args.copies = copies_of(out);
  args.n_rows = static_cast<std::int32_t>(n_rows);
  args.n = static_cast<std::int32_t>(n);
  device_.launch<KernelId::swiglu_rows>(stream_, gpu::swiglu_rows_grid(args), args);
}

void DeviceOps::add(const DeviceRows& out, const float* in, std::int64_t in_stride, std::int64_t n_rows,
                    std::int64_t n) const {
  gpu::AddRowsArgs args{};
  args.out = out.rows;
  args.in = in;
  args.out_stride = out.stride;
  args.in_stride = in_stride;
  args.n_rows = static_cast<std::int32_t>(n_rows);
  args.width = static_cast<std::int32_t>(n);
  device_.launch<KernelId::add_rows>(stream_, gpu::add_rows_grid(args), args);
}

}  // namespace dodeca::runtime::device
