// Grouped-query models with dense feed-forward blocks, in double and from their definition: what the blocks are judged
// by.
#pragma once

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "tests/support/memory_source.hpp"

namespace dodeca::tests {

class NaiveGqa {
 public:
  explicit NaiveGqa(const MemorySource& source) : source_(source), c_(source.config()), inv_freq_(c_.inv_freq()) {}

  // [ids, vocabulary] of a sequence.
  std::vector<float> logits(const std::vector<int>& ids) const {
    std::vector<Vec> x;
    for (const int id : ids) x.push_back(slice("token_embd.weight", id * c_.hidden_size, c_.hidden_size));
    for (std::int64_t layer = 0; layer < c_.n_layers; ++layer) {
      const std::string b = "blk." + std::to_string(layer) + ".";
      attend(x, b, c_.layer(layer).window);
      for (Vec& row : x) {
        const Vec h = normed(row, all(b + "ffn_norm.weight"));
        Vec gate = times(b + "ffn_gate.weight", h);
        const Vec up = times(b + "ffn_up.weight", h);
        for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1.0 + std::exp(-gate[i])) * up[i];
        add(row, times(b + "ffn_down.weight", gate));
      }
    }
    std::vector<float> out;
    for (const Vec& row : x) {
      for (const double z : times("output.weight", normed(row, all("output_norm.weight"))))
        out.push_back(static_cast<float>(z));
    }
    return out;
  }

 private:
  using Vec = std::vector<double>;

  Vec slice(const std::string& name, std::int64_t begin, std::int64_t n) const {
    const std::vector<float>& values = source_.values(name);
    return {values.begin() + begin, values.begin() + begin + n};
  }
  Vec all(const std::string& name) const { return slice(name, 0, std::ssize(source_.values(name))); }
  Vec times(const std::string& name, const Vec& x) const {
    const std::vector<float>& w = source_.values(name);
    Vec y(w.size() / x.size(), 0.0);
    for (std::size_t r = 0; r < y.size(); ++r) {
      for (std::size_t k = 0; k < x.size(); ++k) y[r] += w[r * x.size() + k] * x[k];
    }
    return y;
  }
  static void add(Vec& to, const Vec& x) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += x[i];
  }
  Vec normed(const Vec& x, const Vec& weight) const {
    double sum = 0.0;
    for (const double v : x) sum += v * v;
    Vec y(x);
    for (std::size_t i = 0; i < x.size(); ++i)
      y[i] *= weight[i] / std::sqrt(sum / static_cast<double>(x.size()) + c_.rms_norm_eps);
    return y;
  }

  // Queries or keys of a row: bias, norm, rope.
  Vec projected(const std::string& b, const std::string& kind, const Vec& h, std::size_t position) const {
    Vec y = times(b + "attn_" + kind + ".weight", h);
    if (c_.attention_bias) add(y, all(b + "attn_" + kind + ".bias"));
    if (kind == "v") return y;
    const auto dim = static_cast<std::size_t>(c_.head_dim);
    if (c_.qk_norm == runtime::QkNorm::kWhole) y = normed(y, all(b + "attn_" + kind + "_norm.weight"));
    for (std::size_t begin = 0; begin < y.size(); begin += dim) {
      Vec head(y.begin() + static_cast<std::ptrdiff_t>(begin), y.begin() + static_cast<std::ptrdiff_t>(begin + dim));
      if (c_.qk_norm == runtime::QkNorm::kPerHead) head = normed(head, all(b + "attn_" + kind + "_norm.weight"));
      rotate(head, position);
      std::copy(head.begin(), head.end(), y.begin() + static_cast<std::ptrdiff_t>(begin));
    }
    return y;
  }

  void rotate(Vec& head, std::size_t position) const {
    const std::size_t pairs = inv_freq_.size();
    for (std::size_t i = 0; i < pairs; ++i) {
      const bool halves = c_.rope.pairing == runtime::RopePairing::kHalves;
      double &first = head[halves ? i : 2 * i], &second = head[halves ? i + pairs : 2 * i + 1];
      const double angle = static_cast<double>(position) * inv_freq_[i], a = first, b = second;
      first = (a * std::cos(angle) - b * std::sin(angle)) * c_.rope.magnitude;
      second = (a * std::sin(angle) + b * std::cos(angle)) * c_.rope.magnitude;
    }
  }

  void attend(std::vector<Vec>& x, const std::string& b, std::int64_t window) const {
    const auto dim = static_cast<std::size_t>(c_.head_dim), heads = static_cast<std::size_t>(c_.n_heads),
               group = heads / static_cast<std::size_t>(c_.n_kv_heads);
    std::vector<Vec> q, k, v;
    for (std::size_t t = 0; t < x.size(); ++t) {
      const Vec h = normed(x[t], all(b + "attn_norm.weight"));
      q.push_back(projected(b, "q", h, t));
      k.push_back(projected(b, "k", h, t));
      v.push_back(projected(b, "v", h, t));
    }
    for (std::size_t t = 0; t < x.size(); ++t) {
      Vec joined(heads * dim, 0.0);
      const std::size_t first =
          window > 0 && static_cast<std::int64_t>(t) >= window ? t + 1 - static_cast<std::size_t>(window) : 0;
      for (std::size_t a = 0; a < heads; ++a) {
        const std::size_t at = a / group * dim;
        Vec score;
        double most = c_.attention_sinks ? source_.values(b + "attn_sinks.weight")[a] : -1e300, sum = 0.0;
        const double sink = most;
        for (std::size_t u = first; u <= t; ++u) {
          double s = 0.0;
          for (std::size_t i = 0; i < dim; ++i) s += q[t][a * dim + i] * k[u][at + i];
          score.push_back(s * c_.softmax_scale(runtime::AttentionKind::kGqa));
          most = std::max(most, score.back());
        }
        if (c_.attention_sinks) sum += std::exp(sink - most);
        for (double& s : score) sum += s = std::exp(s - most);
        for (std::size_t u = first; u <= t; ++u) {
          for (std::size_t i = 0; i < dim; ++i) joined[a * dim + i] += score[u - first] / sum * v[u][at + i];
        }
      }
      add(x[t], times(b + "attn_output.weight", joined));
      if (c_.output_bias) add(x[t], all(b + "attn_output.bias"));
    }
  }

  const MemorySource& source_;
  const runtime::ModelConfig& c_;
  std::vector<double> inv_freq_;
};

// A small model with dense feed-forward blocks and every feature that `rng` chooses.
inline runtime::ModelConfig random_gqa_config(std::mt19937& rng) {
  const auto pick = [&](auto... of) {
    const std::vector<std::int64_t> values = {static_cast<std::int64_t>(of)...};
    return values[rng() % values.size()];
  };
  runtime::ModelConfig c;
  c.architecture = "test";
  c.vocab_size = 48;
  c.hidden_size = pick(48, 64, 288);
  c.n_layers = 2;
  c.context_length = 512;
  c.intermediate_size = 96;
  c.layers.assign(2, {runtime::AttentionKind::kGqa, runtime::FfnKind::kDense});
  for (runtime::LayerConfig& layer : c.layers) layer.window = pick(0, 0, 1, 7, 33, 64, 100);
  c.n_kv_heads = pick(1, 2, 3, 4, 8);
  c.n_heads = c.n_kv_heads * pick(1, 2, 3, 5, 8, 16);
  while (c.n_heads > 32) c.n_heads -= c.n_kv_heads;
  c.head_dim = pick(24, 32, 64, 96, 128, 256);
  while (c.n_heads * c.head_dim > 2048) c.head_dim = pick(24, 32, 64);
  c.rope.dim = rng() % 2 == 0 ? c.head_dim : c.head_dim / 4 * 2;
  c.rope.pairing = rng() % 2 == 0 ? runtime::RopePairing::kHalves : runtime::RopePairing::kInterleaved;
  if (rng() % 3 == 0) {
    for (std::int64_t i = 0; i < c.rope.dim / 2; ++i)
      c.rope.factors.push_back(1.0 + static_cast<double>(rng() % 1000) / 100.0);
  }
  if (rng() % 3 == 0) c.rope.magnitude = 1.3465736;
  c.qk_norm = std::vector{runtime::QkNorm::kNone, runtime::QkNorm::kPerHead, runtime::QkNorm::kWhole}[rng() % 3];
  c.attention_bias = rng() % 2 == 0;
  c.output_bias = rng() % 2 == 0;
  c.attention_sinks = rng() % 2 == 0;
  runtime::validate(c);
  return c;
}

inline std::string text_of(const runtime::ModelConfig& c) {
  return std::to_string(c.n_heads) + "/" + std::to_string(c.n_kv_heads) + " heads of " + std::to_string(c.head_dim) +
         ", windows " + std::to_string(c.layers[0].window) + " " + std::to_string(c.layers[1].window) + ", rope " +
         std::to_string(c.rope.dim) + (c.rope.pairing == runtime::RopePairing::kHalves ? " halves" : " pairs") +
         (c.rope.factors.empty() ? "" : " factors") + ", norm " + std::to_string(static_cast<int>(c.qk_norm)) +
         (c.attention_bias ? ", biases" : "") + (c.output_bias ? ", output bias" : "") +
         (c.attention_sinks ? ", sinks" : "");
}

}  // namespace dodeca::tests
