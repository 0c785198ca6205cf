#include "runtime/exec/naive_mla.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "quant/codec.hpp"

namespace dodeca::runtime {
namespace {

// One slice of a packed weight as floats [n_out, n_in].
std::vector<float> unpack_slice(const PackedMatrix& w, std::int64_t slice) {
  const std::size_t row_bytes = *quant::row_bytes(w.dtype, w.n_in);
  std::vector<std::byte> rows(row_bytes * cpu::kTileRows);
  std::vector<float> out(static_cast<std::size_t>(w.n_out * w.n_in));
  for (std::int64_t tile = 0; tile < w.n_tiles; ++tile) {
    std::byte* pointers[cpu::kTileRows];
    for (int r = 0; r < cpu::kTileRows; ++r) pointers[r] = rows.data() + static_cast<std::size_t>(r) * row_bytes;
    const std::byte* data = w.slice(slice) + static_cast<std::size_t>(tile) * w.tile_bytes;
    if (w.reference)
      std::copy_n(data, rows.size(), rows.data());
    else
      w.layout->unpack(data, w.n_in, pointers);
    for (int r = 0; r < cpu::kTileRows && tile * cpu::kTileRows + r < w.n_out; ++r) {
      quant::decode_row(w.dtype, pointers[r], out.data() + (tile * cpu::kTileRows + r) * w.n_in, w.n_in);
    }
  }
  return out;
}

}  // namespace

void naive_mla(const Pass& pass, const cpu::Member& member, std::int64_t layer) noexcept {
  const ModelConfig& c = pass.config();
  const LayerWeights& w = pass.weights.layers[static_cast<std::size_t>(layer)];
  const Workspace& s = pass.space;
  const std::int64_t head_dim = c.qk_nope_head_dim + c.qk_rope_head_dim, latent = c.kv_lora_rank, width = s.kv.width();
  std::vector<float> row(static_cast<std::size_t>(width));
  const cpu::Range range = member.part(c.n_heads);
  for (std::int64_t head = range.begin; head < range.end; ++head) {
    const std::vector<float> k_b = unpack_slice(w.k_b, head), v_b = unpack_slice(w.v_b, head);
    for (std::int64_t i = 0; i < pass.n(); ++i) {
      const Row& r = pass.rows[static_cast<std::size_t>(i)];
      const float* q = s.q.row(i) + head * head_dim;
      std::vector<double> scores, out(static_cast<std::size_t>(c.v_head_dim), 0.0);
      std::vector<std::vector<double>> values;
      for (std::int64_t position = 0; position <= r.position; ++position) {
        pass.cache.read_row(layer, r.sequence, position, row.data());
        double score = 0.0;
        for (std::int64_t d = 0; d < c.qk_nope_head_dim; ++d) {
          double key = 0.0;
          for (std::int64_t l = 0; l < latent; ++l)
            key += static_cast<double>(k_b[static_cast<std::size_t>(l * c.qk_nope_head_dim + d)]) *
                   row[static_cast<std::size_t>(l)];
          score += key * q[d];
        }
        for (std::int64_t d = 0; d < c.qk_rope_head_dim; ++d)
          score += static_cast<double>(q[c.qk_nope_head_dim + d]) * row[static_cast<std::size_t>(latent + d)];
        scores.push_back(score * c.softmax_scale());
        std::vector<double> value(static_cast<std::size_t>(c.v_head_dim), 0.0);
        for (std::int64_t v = 0; v < c.v_head_dim; ++v) {
          for (std::int64_t l = 0; l < latent; ++l)
            value[static_cast<std::size_t>(v)] +=
                static_cast<double>(v_b[static_cast<std::size_t>(v * latent + l)]) * row[static_cast<std::size_t>(l)];
        }
        values.push_back(std::move(value));
      }
      const double max = *std::max_element(scores.begin(), scores.end());
      double sum = 0.0;
      for (std::size_t p = 0; p < scores.size(); ++p) {
        const double weight = std::exp(scores[p] - max);
        sum += weight;
        for (std::size_t v = 0; v < out.size(); ++v) out[v] += weight * values[p][v];
      }
      for (std::int64_t v = 0; v < c.v_head_dim; ++v)
        s.heads.row(i)[head * c.v_head_dim + v] = static_cast<float>(out[static_cast<std::size_t>(v)] / sum);
    }
  }
}

}  // namespace dodeca::runtime
