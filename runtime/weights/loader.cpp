#include "runtime/weights/loader.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "quant/codec.hpp"
#include "runtime/base/first_error.hpp"
#include "runtime/model/contents.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::size_t kReadBytes = std::size_t{1} << 20;  // one read: large enough for the disk, small enough for L2

void check_finite(const WeightInfo& info, std::int64_t slice, std::int64_t row, const std::byte* data) {
  const std::int64_t bad = quant::find_non_finite(info.dtype, data, info.n_in);
  if (bad >= 0) {
    throw Error(ErrorKind::kBadFile, fmt::format("weight {} holds NaN or infinity at slice {}, row {}, column {}",
                                                 info.name, slice, row, bad))
        .with("source", info.where);
  }
}

// 16 rows of a part, from whole rows in file form; null: padding. `scratch` holds the part's columns of them.
void pack_tile(const PackedMatrix& m, const WeightInfo& info, const Span& columns, const std::byte* const* rows,
               std::vector<std::byte>& scratch, std::byte* tile) {
  const std::size_t bytes = *quant::row_bytes(info.dtype, m.n_in);
  const bool whole = m.n_in == info.n_in;
  if (!whole) scratch.resize(cpu::kTileRows * bytes);
  const std::byte* pointers[cpu::kTileRows];
  for (std::size_t r = 0; r < cpu::kTileRows; ++r) {
    pointers[r] = rows[r];
    if (whole || rows[r] == nullptr) continue;
    std::byte* part = scratch.data() + r * bytes;
    quant::copy_columns(info.dtype, rows[r], columns.begin, columns.end, part);
    pointers[r] = part;
  }
  if (!m.reference) return m.layout->pack(pointers, m.n_in, tile);
  for (std::size_t r = 0; r < cpu::kTileRows && pointers[r] != nullptr; ++r)
    std::memcpy(tile + r * bytes, pointers[r], bytes);
}

// Where a part keeps each slice of the whole weight; -1: in another part.
std::vector<std::int64_t> places_of(const WeightPart& part, std::int64_t n_slices) {
  std::vector<std::int64_t> places(static_cast<std::size_t>(n_slices), -1);
  for (std::size_t i = 0; i < part.slices.size(); ++i) places[part.slices[i]] = static_cast<std::int64_t>(i);
  return places;
}

}  // namespace

Loader::Loader(const WeightSource& source, const Plan& plan, cpu::Team& team, Progress progress)
    : source_(source), team_(team), progress_(std::move(progress)) {
  for (const WeightPlan& weight : plan.weights) {
    total_ += static_cast<double>(*quant::row_bytes(weight.dtype, weight.n_in)) *
              static_cast<double>(weight.n_out * weight.n_slices);
  }
}

void Loader::report(std::uint64_t bytes) {
  done_ += static_cast<double>(bytes);
  if (progress_ && !progress_(std::min(done_, total_), total_)) throw Stopped{};
}

void Loader::load(const WeightPlan& weight, WeightStore& store) {
  const WeightInfo& info = *source_.find(weight.id);
  if (weight.layout != nullptr)
    store.add(weight.id, read_parts(weight, info));
  else if (info.source_rank == 1)
    store.add(weight.id, read_vector(info));
  else
    store.add(weight.id, read_rows(info));
  report(static_cast<std::uint64_t>(info.n_slices * info.n_out) * info.row_bytes());
}

template <class F>
void Loader::for_each_piece(const WeightInfo& info, std::int64_t row_grain, F&& f) {
  const std::size_t row_bytes = info.row_bytes();
  const std::int64_t unit =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(kReadBytes / row_bytes) / row_grain) * row_grain;
  const std::int64_t units_per_slice = (info.n_out + unit - 1) / unit, n_units = units_per_slice * info.n_slices;
  cpu::WorkCounter next;
  FirstError error;
  std::mutex mutex;
  team_.run([&](const cpu::Member&) {
    error.guard([&] {
      PlacedSum sum;
      std::vector<std::byte> buffer;
      for (std::int64_t u = next.take(); u < n_units; u = next.take()) {
        const std::int64_t slice = u / units_per_slice, begin = u % units_per_slice * unit,
                           end = std::min(info.n_out, begin + unit);
        buffer.resize(static_cast<std::size_t>(end - begin) * row_bytes);
        source_.read_rows(info, slice, begin, end, buffer.data());
        add_rows(sum, info, slice, begin, buffer);
        for (std::int64_t row = begin; row < end; ++row)
          check_finite(info, slice, row, buffer.data() + static_cast<std::size_t>(row - begin) * row_bytes);
        f(slice, begin, end, buffer);
      }
      const std::lock_guard lock(mutex);
      contents_.add(sum);
    });
  });
  error.rethrow();
}

std::vector<PackedMatrix> Loader::read_parts(const WeightPlan& weight, const WeightInfo& info) {
  std::vector<PackedMatrix> matrices = unplaced(weight);
  for (PackedMatrix& m : matrices)
    m.data = cpu::Buffer(static_cast<std::size_t>(m.n_slices * m.n_tiles) * m.tile_bytes);
  std::vector<std::vector<std::int64_t>> places;
  for (const WeightPart& part : weight.parts) places.push_back(places_of(part, info.n_slices));
  const std::size_t row_bytes = info.row_bytes();
  for_each_piece(info, cpu::kTileRows,
                 [&](std::int64_t slice, std::int64_t begin, std::int64_t end, const std::vector<std::byte>& buffer) {
                   std::vector<std::byte> scratch;
                   for (std::int64_t row = begin; row < end; row += cpu::kTileRows) {
                     const std::byte* rows[cpu::kTileRows];
                     for (std::int64_t r = 0; r < cpu::kTileRows; ++r)
                       rows[r] = row + r < end ? buffer.data() + static_cast<std::size_t>(row + r - begin) * row_bytes
                                               : nullptr;
                     for (const PackedMatrix& m : matrices) {
                       const WeightPart& part = weight.parts[m.part];
                       const std::int64_t place = places[m.part][slice];
                       if (!m || place < 0 || row < part.rows.begin || row >= part.rows.end) continue;
                       const std::int64_t tile = place * m.n_tiles + (row - part.rows.begin) / cpu::kTileRows,
                                          first = part.columns.begin + m.column_begin;
                       pack_tile(m, info, {first, first + m.n_in}, rows, scratch,
                                 m.data.data() + static_cast<std::size_t>(tile) * m.tile_bytes);
                     }
                   }
                 });
  return matrices;
}

std::vector<float> Loader::read_vector(const WeightInfo& info) {
  std::vector<std::byte> raw(info.row_bytes());
  source_.read_rows(info, 0, 0, 1, raw.data());
  add_rows(contents_, info, 0, 0, raw);
  check_finite(info, 0, 0, raw.data());
  std::vector<float> values(static_cast<std::size_t>(info.n_in));
  quant::decode_row(info.dtype, raw.data(), values.data(), info.n_in);
  return values;
}

RowTable Loader::read_rows(const WeightInfo& info) {
  RowTable table{.dtype = info.dtype,
                 .row_bytes = info.row_bytes(),
                 .data = cpu::Buffer(info.row_bytes() * static_cast<std::size_t>(info.n_out))};
  for_each_piece(info, 1, [&](std::int64_t, std::int64_t begin, std::int64_t, const std::vector<std::byte>& rows) {
    std::memcpy(table.data.data() + static_cast<std::size_t>(begin) * table.row_bytes, rows.data(), rows.size());
  });
  return table;
}

}  // namespace dodeca::runtime
