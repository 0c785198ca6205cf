#include "runtime/model/weight_source.hpp"

#include <algorithm>
#include <numeric>

#include "quant/codec.hpp"
#include "runtime/model/sources.hpp"

namespace dodeca::runtime {

const WeightInfo* WeightSource::find(std::string_view name) const {
  for (const auto* list : {&weights(), &mtp_weights()}) {
    // weights() is sorted by name (sources.hpp).
    const auto it = std::lower_bound(list->begin(), list->end(), name,
                                     [](const WeightInfo& w, std::string_view n) { return w.name < n; });
    if (it != list->end() && it->name == name) return &*it;
  }
  return nullptr;
}

const WeightInfo* WeightSource::find(WeightId id) const { return find(gguf_name(id)); }

void WeightSource::read_rows_f32(const WeightInfo& weight, std::int64_t slice, std::int64_t row_begin,
                                 std::int64_t row_end, float* dst) const {
  const std::size_t bytes = weight.row_bytes();
  std::vector<std::byte> rows(bytes * static_cast<std::size_t>(row_end - row_begin));
  read_rows(weight, slice, row_begin, row_end, rows.data());
  for (std::int64_t r = 0; r < row_end - row_begin; ++r) {
    quant::decode_row(weight.dtype, rows.data() + static_cast<std::size_t>(r) * bytes, dst + r * weight.n_in,
                      weight.n_in);
  }
}

std::unique_ptr<WeightSource> open_weights(const std::filesystem::path& path, const SourceOptions& options,
                                           const Log& log) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    if (!options.override_kv.empty())
      throw Error(ErrorKind::kBadRequest,
                  "only the keys of a GGUF file can be set by hand; edit config.json of the directory instead");
    return open_hf_source(path, options, log);
  }
  return open_gguf_source(path, options, log);
}

}  // namespace dodeca::runtime
