#include "runtime/weights/loader.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <numeric>

#include "quant/codec.hpp"
#include "runtime/base/first_error.hpp"
#include "runtime/model/contents.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::size_t kReadBytes = std::size_t{1} << 20;  // one read: large enough for the disk, small enough for L2

void check_finite(const WeightInfo& info, std::int64_t slice, std::int64_t row, const std::byte* data, std::int64_t n) {
  const std::int64_t bad = quant::find_non_finite(info.dtype, data, n);
  if (bad >= 0) {
    throw Error(ErrorKind::kBadFile, fmt::format("weight {} holds NaN or infinity at slice {}, row {}, column {}",
                                                 info.name, slice, row, bad))
        .with("source", info.where);
  }
}

}  // namespace

Loader::Loader(const WeightSource& source, const Plan& plan, cpu::Team& team, Progress progress)
    : source_(source), plan_(plan), team_(team), progress_(std::move(progress)) {
  for (const WeightInfo& info : source.weights()) {
    total_ += static_cast<double>(info.row_bytes()) * static_cast<double>(info.n_out * info.n_slices);
  }
}

const WeightPlan& Loader::plan_of(const WeightInfo& info) const {
  return plan_.weights[static_cast<std::size_t>(&info - source_.weights().data())];
}

void Loader::report(std::uint64_t bytes) {
  done_ += static_cast<double>(bytes);
  if (progress_ && !progress_(std::min(done_, total_), total_)) throw Stopped{};
}

PackedMatrix Loader::matrix(const std::string& name) {
  const WeightInfo* info = source_.find(name);
  if (info == nullptr) return {};
  return matrix(name, {}, {0, info->n_out}, {0, info->n_in});
}

PackedMatrix Loader::matrix(const std::string& name, const std::vector<std::int64_t>& slices, Span rows, Span columns) {
  const WeightInfo* info = source_.find(name);
  if (info == nullptr) return {};
  const WeightPlan& plan = plan_of(*info);
  std::vector<std::int64_t> chosen = slices;
  if (chosen.empty()) {
    chosen.resize(static_cast<std::size_t>(info->n_slices));
    std::iota(chosen.begin(), chosen.end(), 0);
  }
  PackedMatrix m;
  m.layout = plan.layout;
  m.gemv = plan.gemv;
  m.gemm = plan.gemm;
  m.gemm_min_rows = plan.gemm_min_rows;
  m.prompt = plan.prompt;
  m.n_in = columns.size();
  m.n_out = rows.size();
  m.n_slices = static_cast<std::int64_t>(chosen.size());
  m.n_tiles = (m.n_out + cpu::kTileRows - 1) / cpu::kTileRows;
  m.dtype = info->dtype;
  m.reference = plan.storage == Storage::kReference;
  const std::size_t part_bytes = *quant::row_bytes(info->dtype, m.n_in);
  m.tile_bytes = m.reference ? cpu::kTileRows * part_bytes : m.layout->tile_bytes(m.n_in);
  m.data = cpu::Buffer(static_cast<std::size_t>(m.n_slices * m.n_tiles) * m.tile_bytes);

  const std::size_t row_bytes = info->row_bytes();
  const std::size_t skip = *quant::row_bytes(info->dtype, columns.begin);
  const std::int64_t unit =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(kReadBytes / row_bytes) / cpu::kTileRows);  // tiles per read
  const std::int64_t units_per_slice = (m.n_tiles + unit - 1) / unit, n_units = units_per_slice * m.n_slices;
  const bool whole_rows = part_bytes == row_bytes;
  cpu::WorkCounter next;
  FirstError error;
  std::mutex mutex;
  team_.run([&](const cpu::Member&) {
    error.guard([&] {
      PlacedSum sum;
      std::vector<std::byte> buffer;
      for (std::int64_t u = next.take(); u < n_units; u = next.take()) {
        const std::int64_t slot = u / units_per_slice, slice = chosen[static_cast<std::size_t>(slot)];
        const std::int64_t tile_begin = u % units_per_slice * unit, tile_end = std::min(m.n_tiles, tile_begin + unit);
        const std::int64_t row_begin = tile_begin * cpu::kTileRows,
                           row_end = std::min(m.n_out, tile_end * cpu::kTileRows);
        buffer.resize(static_cast<std::size_t>(row_end - row_begin) * row_bytes);
        source_.read_rows(*info, slice, rows.begin + row_begin, rows.begin + row_end, buffer.data());
        if (whole_rows) add_rows(sum, *info, slice, rows.begin + row_begin, buffer);
        for (std::int64_t tile = tile_begin; tile < tile_end; ++tile) {
          const std::byte* pointers[cpu::kTileRows];
          for (int r = 0; r < cpu::kTileRows; ++r) {
            const std::int64_t row = tile * cpu::kTileRows + r;
            const std::byte* data = buffer.data() + static_cast<std::size_t>(row - row_begin) * row_bytes;
            pointers[r] = row < m.n_out ? data + skip : nullptr;
            if (row >= m.n_out) continue;
            check_finite(*info, slice, rows.begin + row, data, info->n_in);
            if (!whole_rows) add_row_part(sum, *info, slice, rows.begin + row, skip, {data + skip, part_bytes});
          }
          std::byte* out = m.data.data() + static_cast<std::size_t>(slot * m.n_tiles + tile) * m.tile_bytes;
          if (m.reference) {
            for (int r = 0; r < cpu::kTileRows && pointers[r] != nullptr; ++r)
              std::memcpy(out + static_cast<std::size_t>(r) * part_bytes, pointers[r], part_bytes);
          } else {
            m.layout->pack(pointers, m.n_in, out);
          }
        }
      }
      const std::lock_guard lock(mutex);
      contents_.add(sum);
    });
  });
  error.rethrow();
  report(static_cast<std::uint64_t>(m.n_slices * m.n_out) * part_bytes);
  return m;
}

std::vector<float> Loader::vector(const std::string& name) {
  const WeightInfo* info = source_.find(name);
  if (info == nullptr) return {};
  std::vector<std::byte> raw(info->row_bytes());
  source_.read_rows(*info, 0, 0, 1, raw.data());
  add_rows(contents_, *info, 0, 0, raw);
  check_finite(*info, 0, 0, raw.data(), info->n_in);
  std::vector<float> values(static_cast<std::size_t>(info->n_in));
  quant::decode_row(info->dtype, raw.data(), values.data(), info->n_in);
  report(raw.size());
  return values;
}

void Loader::rows(const std::string& name, cpu::Buffer& out) {
  const WeightInfo& info = *source_.find(name);
  const std::size_t row_bytes = info.row_bytes();
  out = cpu::Buffer(row_bytes * static_cast<std::size_t>(info.n_out));
  const std::int64_t unit = std::max<std::int64_t>(1, static_cast<std::int64_t>(kReadBytes / row_bytes));
  cpu::WorkCounter next;
  FirstError error;
  std::mutex mutex;
  team_.run([&](const cpu::Member&) {
    error.guard([&] {
      PlacedSum sum;
      for (std::int64_t begin = next.take(unit); begin < info.n_out; begin = next.take(unit)) {
        const std::int64_t end = std::min(info.n_out, begin + unit);
        std::byte* dst = out.data() + static_cast<std::size_t>(begin) * row_bytes;
        source_.read_rows(info, 0, begin, end, dst);
        add_rows(sum, info, 0, begin, {dst, static_cast<std::size_t>(end - begin) * row_bytes});
        for (std::int64_t row = begin; row < end; ++row)
          check_finite(info, 0, row, dst + static_cast<std::size_t>(row - begin) * row_bytes, info.n_in);
      }
      const std::lock_guard lock(mutex);
      contents_.add(sum);
    });
  });
  error.rethrow();
  report(out.size());
}

}  // namespace dodeca::runtime
