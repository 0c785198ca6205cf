#include "runtime/model/contents.hpp"

#include <algorithm>
#include <mutex>

#include "runtime/base/first_error.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{1} << 20;

}  // namespace

void add_row_part(PlacedSum& sum, const WeightInfo& weight, std::int64_t slice, std::int64_t row,
                  std::size_t byte_begin, std::span<const std::byte> part) {
  const auto row_of_all = static_cast<std::uint64_t>(slice * weight.n_out + row);
  sum.add(fnv1a(weight.name), row_of_all * weight.row_bytes() + byte_begin, part);
}

void add_rows(PlacedSum& sum, const WeightInfo& weight, std::int64_t slice, std::int64_t row_begin,
              std::span<const std::byte> rows) {
  add_row_part(sum, weight, slice, row_begin, 0, rows);
}

PlacedSum sum_of(const WeightSource& source, const WeightInfo& weight, cpu::Team& team) {
  // As the loader reads: what a source transposes it reads by whole slices.
  const std::int64_t unit = std::max<std::int64_t>(16, static_cast<std::int64_t>(kPieceBytes / weight.row_bytes()));
  const std::int64_t per_slice = (weight.n_out + unit - 1) / unit;
  PlacedSum whole;
  std::mutex mutex;
  cpu::WorkCounter next;
  FirstError error;
  team.run([&](const cpu::Member&) {
    error.guard([&] {
      PlacedSum own;
      std::vector<std::byte> rows;
      for (std::int64_t u = next.take(); u < per_slice * weight.n_slices; u = next.take()) {
        const std::int64_t begin = u % per_slice * unit, end = std::min(weight.n_out, begin + unit);
        rows.resize(static_cast<std::size_t>(end - begin) * weight.row_bytes());
        source.read_rows(weight, u / per_slice, begin, end, rows.data());
        add_rows(own, weight, u / per_slice, begin, rows);
      }
      const std::lock_guard lock(mutex);
      whole.add(own);
    });
  });
  error.rethrow();
  return whole;
}

PlacedSum sum_of(const WeightSource& source, cpu::Team& team, const Progress& progress) {
  double done = 0, total = 0;
  const auto bytes_of = [](const WeightInfo& weight) {
    return static_cast<double>(weight.row_bytes()) * static_cast<double>(weight.n_out * weight.n_slices);
  };
  for (const WeightInfo& weight : source.weights()) total += bytes_of(weight);
  PlacedSum whole;
  for (const WeightInfo& weight : source.weights()) {
    whole.add(sum_of(source, weight, team));
    done += bytes_of(weight);
    if (progress && !progress(done, total)) throw Stopped{};
  }
  return whole;
}

}  // namespace dodeca::runtime
