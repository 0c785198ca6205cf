#include "runtime/weights/loader.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "cpu/crews.hpp"
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

// Rows of a slice that are read together.
struct Unit {
  std::int64_t slice, begin, end;
  bool counts = true;  // in the contents; of several processes that read it, in one
};

bool has_rows_of(const WeightPart& part, const Unit& unit) {
  return part.columns.size() > 0 && part.rows.begin < unit.end && unit.begin < part.rows.end &&
         std::ranges::binary_search(part.slices, unit.slice);
}

// The part that alone has rows of a unit; -1: several have.
int owner_of(const WeightPlan& weight, const Unit& unit) {
  int owner = -1;
  for (std::size_t p = 0; p < weight.parts.size(); ++p) {
    const bool has = has_rows_of(weight.parts[p], unit);
    if (has && owner >= 0) return -1;
    if (has) owner = static_cast<int>(p);
  }
  return owner;
}

}  // namespace

Loader::Loader(const WeightSource& source, const Plan& plan, cpu::Team& team, Progress progress)
    : source_(source),
      n_parts_(static_cast<int>(plan.n_parts())),
      here_(plan.options.here),
      team_(team),
      progress_(std::move(progress)) {
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
    store.add(weight.id, read_parts(weight, info, store));
  else if (info.is_vector())
    store.add(weight.id, read_vector(info));
  else
    store.add(weight.id, read_rows(weight, info, store));
  report(static_cast<std::uint64_t>(info.n_slices * info.n_out) * info.row_bytes());
}

template <class F>
void Loader::for_each_unit(const WeightPlan& weight, const WeightInfo& info, std::int64_t row_grain, F&& f) {
  const std::size_t row_bytes = info.row_bytes();
  const std::int64_t n_rows =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(kReadBytes / row_bytes) / row_grain) * row_grain;
  std::vector<std::vector<Unit>> queues(static_cast<std::size_t>(n_parts_));
  std::size_t n_units = 0;
  for (std::int64_t slice = 0; slice < info.n_slices; ++slice) {
    for (std::int64_t begin = 0; begin < info.n_out; begin += n_rows) {
      Unit unit{slice, begin, std::min(info.n_out, begin + n_rows)};
      const int owner = owner_of(weight, unit), queue = owner >= 0 ? owner : static_cast<int>(n_units % queues.size());
      ++n_units;
      unit.counts = here_ == cpu::kAllParts || queue == here_;
      // Tables of rows are everyone's.
      if (unit.counts || weight.layout == nullptr || has_rows_of(weight.parts[static_cast<std::size_t>(here_)], unit))
        queues[static_cast<std::size_t>(queue)].push_back(unit);
    }
  }
  std::vector<cpu::WorkCounter> next(queues.size());
  const cpu::Crews& crews = team_.crews(n_parts_, here_);
  FirstError error;
  std::mutex mutex;
  team_.run([&](const cpu::Member& member) {
    error.guard([&] {
      PlacedSum sum;
      std::vector<std::byte> buffer;
      const auto read = [&](const Unit& unit) {
        buffer.resize(static_cast<std::size_t>(unit.end - unit.begin) * row_bytes);
        source_.read_rows(info, unit.slice, unit.begin, unit.end, buffer.data());
        if (unit.counts) add_rows(sum, info, unit.slice, unit.begin, buffer);
        for (std::int64_t row = unit.begin; row < unit.end; ++row)
          check_finite(info, unit.slice, row, buffer.data() + static_cast<std::size_t>(row - unit.begin) * row_bytes);
        f(unit.slice, unit.begin, unit.end, buffer);
      };
      // Its own parts' first, then what others have not come to.
      const auto first = static_cast<std::size_t>(crews.place(member).first_part);
      for (std::size_t k = 0; k < queues.size(); ++k) {
        const std::size_t q = (first + k) % queues.size();
        for (auto u = next[q].take(); u < std::ssize(queues[q]); u = next[q].take()) read(queues[q][u]);
      }
      const std::lock_guard lock(mutex);
      contents_.add(sum);
    });
  });
  error.rethrow();
}

std::vector<PackedMatrix> Loader::read_parts(const WeightPlan& weight, const WeightInfo& info, WeightStore& store) {
  std::vector<PackedMatrix> matrices = unplaced(weight);
  store.place(weight, matrices);
  std::vector<std::vector<std::int64_t>> places;
  for (const WeightPart& part : weight.parts) places.push_back(places_of(part, info.n_slices));
  const std::size_t row_bytes = info.row_bytes();
  for_each_unit(weight, info, cpu::kTileRows,
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
                      if (m.data == nullptr || place < 0 || row < part.rows.begin || row >= part.rows.end) continue;
                      const std::int64_t tile = place * m.n_tiles + (row - part.rows.begin) / cpu::kTileRows,
                                         first = part.columns.begin + m.column_begin;
                      pack_tile(m, info, {first, first + m.n_in}, rows, scratch,
                                m.data + static_cast<std::size_t>(tile) * m.tile_bytes);
                    }
                  }
                });
  return matrices;
}

std::vector<float> Loader::read_vector(const WeightInfo& info) {
  std::vector<std::byte> raw(info.row_bytes());
  std::vector<float> values(static_cast<std::size_t>(info.n_in * info.n_slices));
  for (std::int64_t slice = 0; slice < info.n_slices; ++slice) {
    source_.read_rows(info, slice, 0, 1, raw.data());
    if (here_ <= 0) add_rows(contents_, info, slice, 0, raw);
    check_finite(info, slice, 0, raw.data());
    quant::decode_row(info.dtype, raw.data(), values.data() + slice * info.n_in, info.n_in);
  }
  return values;
}

RowTable Loader::read_rows(const WeightPlan& weight, const WeightInfo& info, WeightStore& store) {
  RowTable table{.dtype = info.dtype, .row_bytes = info.row_bytes()};
  store.place(table, info.row_bytes() * static_cast<std::size_t>(info.n_out));
  for_each_unit(weight, info, 1,
                [&](std::int64_t, std::int64_t begin, std::int64_t, const std::vector<std::byte>& rows) {
                  std::memcpy(table.data + static_cast<std::size_t>(begin) * table.row_bytes, rows.data(), rows.size());
                });
  return table;
}

}  // namespace dodeca::runtime
