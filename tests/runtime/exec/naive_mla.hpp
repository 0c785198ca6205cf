// Latent attention as the paper writes it (DeepSeek-V2, section 2.1), in double: keys and values of every head are made
// from the latents and attended to. A block of its own in the place of the product's, sharing nothing with it but the
// weights, for one sequence.
#pragma once

#include <cmath>
#include <vector>

#include "runtime/exec/block.hpp"
#include "runtime/exec/executor.hpp"

namespace dodeca::tests {

class NaiveMla final : public runtime::exec::Block {
 public:
  NaiveMla(const runtime::Model& model, const runtime::BlockPlan& plan, std::int64_t n_positions)
      : Block(plan), c_(model.config()), model_(model) {
    using enum runtime::WeightRole;
    if (c_.q_lora_rank > 0) {
      q_a_ = read(kQA);
      q_b_ = read(kQB);
    } else {
      q_b_ = read(kQ);
    }
    kv_a_ = read(kKvA);
    k_b_ = read(kKB);
    v_b_ = read(kVB);
    output_ = read(kAttentionOutput);
    inv_freq_ = c_.inv_freq();
    for (auto* list : {&q_, &key_, &value_}) list->resize(static_cast<std::size_t>(n_positions));
    phases_ = {{.name = "rows",
                .deal =
                    [this](runtime::exec::Pass& pass, const cpu::Member& member) {
                      const cpu::Range mine = member.part(pass.n());
                      for (std::int64_t i = mine.begin; i < mine.end; ++i) prepare(pass, i);
                    }},
               {.name = "attention",
                .deal =
                    [this](runtime::exec::Pass& pass, const cpu::Member& member) {
                      const cpu::Range mine = member.part(pass.n());
                      for (std::int64_t i = mine.begin; i < mine.end; ++i) attend(pass, i);
                    }},
               {.name = "done", .deal = [](runtime::exec::Pass&, const cpu::Member&) {}}};
  }
  std::span<const runtime::exec::Phase> phases(const runtime::exec::Pass&) const override { return phases_; }
  std::span<const float> norm() const override { return vector(runtime::WeightRole::kAttentionNorm); }

 private:
  using Row = std::vector<double>;
  struct Matrix {
    std::int64_t n_in = 0, n_out = 0;
    std::vector<float> values;  // [slices, n_out, n_in]
    double at(std::int64_t slice, std::int64_t r, std::int64_t k) const {
      return values[static_cast<std::size_t>((slice * n_out + r) * n_in + k)];
    }
    Row times(const Row& x) const {
      Row y(static_cast<std::size_t>(n_out), 0.0);
      for (std::int64_t r = 0; r < n_out; ++r) {
        for (std::int64_t k = 0; k < n_in; ++k)
          y[static_cast<std::size_t>(r)] += at(0, r, k) * x[static_cast<std::size_t>(k)];
      }
      return y;
    }
  };

  std::span<const float> vector(runtime::WeightRole role) const {
    return model_.weights().vector({role, plan().layer});
  }
  Matrix read(runtime::WeightRole role) const {
    const std::span<const runtime::PackedMatrix> pieces = model_.weights().parts({role, plan().layer});
    const runtime::PackedMatrix& last = pieces.back();
    const std::int64_t n_in = last.column_begin + last.n_in;
    Matrix out{n_in, last.n_out, std::vector<float>(static_cast<std::size_t>(last.n_slices * last.n_out * n_in))};
    std::vector<std::byte> scratch(*quant::row_bytes(last.dtype, n_in));
    for (const runtime::PackedMatrix& m : pieces) {
      for (std::int64_t s = 0; s < m.n_slices; ++s) {
        for (std::int64_t r = 0; r < m.n_out; ++r)
          m.decode_row(s, r, scratch.data(), out.values.data() + (s * m.n_out + r) * n_in + m.column_begin);
      }
    }
    return out;
  }
  void add(Row& x, std::span<const float> bias) const {
    for (std::size_t j = 0; j < bias.size(); ++j) x[j] += bias[j];
  }
  void normalize(Row& x, std::int64_t n, std::span<const float> weight) const {
    double sum = 0.0;
    for (std::int64_t j = 0; j < n; ++j) sum += x[static_cast<std::size_t>(j)] * x[static_cast<std::size_t>(j)];
    const double inverse = 1.0 / std::sqrt(sum / static_cast<double>(n) + c_.rms_norm_eps);
    for (std::int64_t j = 0; j < n; ++j)
      x[static_cast<std::size_t>(j)] *= inverse * weight[static_cast<std::size_t>(j)];
  }
  void rotate(double* x, std::int64_t position) const {
    for (std::size_t i = 0; i < inv_freq_.size(); ++i) {
      const double angle = static_cast<double>(position) * inv_freq_[i], a = x[2 * i], b = x[2 * i + 1];
      x[2 * i] = (a * std::cos(angle) - b * std::sin(angle)) * c_.rope.magnitude;
      x[2 * i + 1] = (a * std::sin(angle) + b * std::cos(angle)) * c_.rope.magnitude;
    }
  }

  // Queries, keys and values of one row.
  void prepare(const runtime::exec::Pass& pass, std::int64_t i) {
    const std::int64_t position = pass.row(i).position, nope = c_.qk_nope_head_dim, rope = c_.qk_rope_head_dim,
                       latent = c_.kv_lora_rank, v = c_.v_head_dim;
    const auto at = static_cast<std::size_t>(position);
    const runtime::exec::Activations& input = pass.buffer(runtime::exec::RowBuffer::kInput);
    Row x(input.row(i), input.row(i) + c_.hidden_size);
    for (double& value : x) value *= input.factor(i);
    Row inner = x;
    if (c_.q_lora_rank > 0) {
      inner = q_a_.times(x);
      add(inner, vector(runtime::WeightRole::kQABias));
      normalize(inner, c_.q_lora_rank, vector(runtime::WeightRole::kQANorm));
    }
    q_[at] = q_b_.times(inner);
    Row kv = kv_a_.times(x);
    add(kv, vector(runtime::WeightRole::kKvABias));
    normalize(kv, latent, vector(runtime::WeightRole::kKvANorm));
    rotate(kv.data() + latent, position);
    key_[at].assign(static_cast<std::size_t>(c_.n_heads * (nope + rope)), 0.0);
    value_[at].assign(static_cast<std::size_t>(c_.n_heads * v), 0.0);
    for (std::int64_t h = 0; h < c_.n_heads; ++h) {
      rotate(q_[at].data() + h * (nope + rope) + nope, position);
      double* key = key_[at].data() + h * (nope + rope);
      for (std::int64_t l = 0; l < latent; ++l) {
        for (std::int64_t d = 0; d < nope; ++d) key[d] += k_b_.at(h, l, d) * kv[static_cast<std::size_t>(l)];
        for (std::int64_t d = 0; d < v; ++d)
          value_[at][static_cast<std::size_t>(h * v + d)] += v_b_.at(h, d, l) * kv[static_cast<std::size_t>(l)];
      }
      for (std::int64_t d = 0; d < rope; ++d) key[nope + d] = kv[static_cast<std::size_t>(latent + d)];
    }
  }

  void attend(const runtime::exec::Pass& pass, std::int64_t i) const {
    const std::int64_t position = pass.row(i).position, width = c_.qk_nope_head_dim + c_.qk_rope_head_dim,
                       v = c_.v_head_dim;
    const double scale = c_.softmax_scale(runtime::AttentionKind::kMla);
    Row joined(static_cast<std::size_t>(c_.n_heads * v), 0.0);
    for (std::int64_t h = 0; h < c_.n_heads; ++h) {
      const double* q = q_[static_cast<std::size_t>(position)].data() + h * width;
      Row weight;
      double max = -1e300, sum = 0.0;
      for (std::int64_t p = 0; p <= position; ++p) {
        double score = 0.0;
        for (std::int64_t d = 0; d < width; ++d)
          score += q[d] * key_[static_cast<std::size_t>(p)][static_cast<std::size_t>(h * width + d)];
        weight.push_back(score * scale);
        max = std::max(max, weight.back());
      }
      for (double& w : weight) sum += w = std::exp(w - max);
      for (std::size_t p = 0; p < weight.size(); ++p) {
        for (std::int64_t d = 0; d < v; ++d)
          joined[static_cast<std::size_t>(h * v + d)] +=
              weight[p] / sum * value_[p][static_cast<std::size_t>(h * v + d)];
      }
    }
    Row out = output_.times(joined);
    add(out, vector(runtime::WeightRole::kAttentionOutputBias));
    float* to = pass.buffer(runtime::exec::RowBuffer::kOutput).row(i);
    for (std::size_t j = 0; j < out.size(); ++j) to[j] = static_cast<float>(out[j]);
  }

  const runtime::ModelConfig& c_;
  const runtime::Model& model_;
  Matrix q_a_, q_b_, kv_a_, k_b_, v_b_, output_;
  std::vector<double> inv_freq_;
  std::vector<Row> q_, key_, value_;  // by position
  std::vector<runtime::exec::Phase> phases_;
};

// Options with which an executor attends naively.
inline runtime::exec::ExecutorOptions naive_attention(const runtime::Model& model, std::int64_t n_positions) {
  return {.n_positions = n_positions,
          .cache_type = quant::DType::kF32,
          .replace = [&model, n_positions](
                         std::unique_ptr<runtime::exec::Block> block) -> std::unique_ptr<runtime::exec::Block> {
            if (block->plan().kind != runtime::BlockKind::kMlaAttention) return block;
            return std::make_unique<NaiveMla>(model, block->plan(), n_positions);
          }};
}

}  // namespace dodeca::tests
