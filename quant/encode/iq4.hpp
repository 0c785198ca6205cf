// The searches of the IQ4 types. MXFP4 is not made here.
#pragma once

#include "quant/encode/encoder.hpp"
#include "quant/encode/small_rows.hpp"
#include "quant/formats/iq4.hpp"
#include "quant/formats/iq_k.hpp"

namespace dodeca::quant {

template <>
struct Encoder<DType::kIQ4_NL> {
  template <class V, bool kWeighted>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    encode_symmetric_small<V, Format<DType::kIQ4_NL>, kWeighted, false, Iq4Levels>(
        x, importance, dst, n,
        {.levels = {}, .trials = {.count = 8, .first = -0.09f, .step = 0.025f, .both = true, .refits = 2}});
  }
};

template <>
struct Encoder<DType::kIQ4_XS> {
  template <class V, bool kWeighted>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    encode_symmetric_super<V, Format<DType::kIQ4_XS>, kWeighted, Iq4Levels>(
        x, importance, dst, n,
        {.levels = {},
         .least_code = -32,
         .most_code = 31,
         .first_code = 32,
         .trials = {.count = 8, .first = -0.09f, .step = 0.025f, .both = true, .refits = 2},
         .rounds = 2,
         .reach = 1});
  }
};

// The table of IQ4_KS whose values are kIq4Shift higher.
struct ShiftedIq4Levels {
  static constexpr float kShift = kIq4Shift;
  float extreme() const { return Iq4Levels{}.extreme() + kShift; }
  template <class V>
  DODECA_LANE V nearest(V v) const {
    return Iq4Levels{}.nearest(v - V(kShift)) + V(kShift);
  }
  template <class V>
  DODECA_LANE V code(V v) const {
    return Iq4Levels{}.code(v - V(kShift));
  }
};

// A row of x ~ d * (2 s_k - 127) * l with s_k in 0..127, l of one of two tables for each sub-block, and one d for the whole
// row. Each sub-block is fitted with either table; d is that for which the odd multiples come closest to these fits, then
// least squares; and for each d tried, the integers are chosen again by exact error.
template <class V, bool kWeighted>
class RowOfIq4Ks {
 public:
  RowOfIq4Ks(const float* x, const float* importance, std::byte* dst, std::int64_t n)
      : x_(x), importance_(importance), dst_(dst), n_(n) {}

  void encode() {
    fit();
    float d = best_step(), best_d = d;
    double best_error = choose(d, false);
    for (int round = 0; round < kRounds; ++round) {
      d = refitted_;
      const double error = choose(d, false);
      if (error < best_error) {
        best_error = error;
        best_d = d;
      }
    }
    choose(best_d, true);
    std::memcpy(dst_, &best_d, sizeof best_d);
  }

 private:
  using F = Format<DType::kIQ4_KS>;
  static constexpr int kRounds = 2, kReach = 1;
  static constexpr int kWeights = kTileLanes * 32;

  // What is known of a sub-block before d is. Kept where its block will be written: a block has 17 bytes for each.
  struct Fit {
    float scale[2];  // with either table
    float weight;    // error per squared change of the better one
    float better;    // which that is
  };
  static_assert(8 * sizeof(Fit) <= sizeof(F::Block));
  std::byte* place(std::int64_t sub) const {
    return dst_ + F::kRowPrefix + static_cast<std::size_t>(sub / 8) * sizeof(F::Block) +
           static_cast<std::size_t>(sub % 8) * sizeof(Fit);
  }
  Fit fit_of(std::int64_t sub) const {
    Fit fit;
    std::memcpy(&fit, place(sub), sizeof fit);
    return fit;
  }

  int load(std::int64_t i) {
    const int n_lanes = n_ - i < kWeights ? static_cast<int>((n_ - i) / 32) : kTileLanes;
    load_tile<V, 32>(x_ + i, kWeighted ? importance_ + i : nullptr, n_lanes, tile_);
    return n_lanes;
  }

  void fit() {
    const SymmetricTrials trials{.count = 8, .first = -0.09f, .step = 0.025f, .both = true, .refits = 2};
    alignas(64) float scale[2][kTileLanes], weight[kTileLanes], better[kTileLanes];
    for (std::int64_t i = 0; i < n_; i += kWeights) {
      const int n_lanes = load(i);
      for (int k = 0; k < kTileLanes; k += V::kCount) {
        const float *x = tile_.x + k, *w = tile_.w + k;
        const SymmetricFit<V> plain = symmetric_search<32, kWeighted, V>(x, w, Iq4Levels{}, trials);
        const SymmetricFit<V> shifted = symmetric_search<32, kWeighted, V>(x, w, ShiftedIq4Levels{}, trials);
        const auto second = plain.gain < shifted.gain;
        plain.scale.store(scale[0] + k);
        shifted.scale.store(scale[1] + k);
        select(second, shifted.ll, plain.ll).store(weight + k);
        select(second, V(1.0f), V(0.0f)).store(better + k);
      }
      for (int k = 0; k < n_lanes; ++k) {
        const Fit fit{{scale[0][k], scale[1][k]}, weight[k], better[k]};
        std::memcpy(place(i / 32 + k), &fit, sizeof fit);
      }
    }
  }

  // The step whose odd multiples up to 127 come closest to the fits.
  float best_step() const {
    constexpr int kSteps = 48;
    float extreme = 0;
    for (std::int64_t sub = 0; sub < n_ / 32; ++sub) {
      const Fit fit = fit_of(sub);
      extreme = max(Lane(extreme), magnitude(Lane(fit.scale[fit.better > 0]))).v;
    }
    if (!(extreme > kNoScale)) return 0;
    alignas(64) float steps[kSteps], errors[kSteps];
    for (int c = 0; c < kSteps; ++c) {
      steps[c] = extreme / (127 * (1.02f - 0.01f * static_cast<float>(c)));
      errors[c] = 0;
    }
    for (std::int64_t sub = 0; sub < n_ / 32; ++sub) {
      const Fit fit = fit_of(sub);
      const V t(fit.scale[fit.better > 0]), weight(fit.weight);
      for (int c = 0; c < kSteps; c += V::kCount) {
        const V step = V::load(steps + c);
        const V off = fma(odd(half_of(t, V(1.0f) / step)), step, -t);
        fma(weight * off, off, V::load(errors + c)).store(errors + c);
      }
    }
    int best = 0;
    for (int c = 1; c < kSteps; ++c) {
      if (errors[c] < errors[best]) best = c;
    }
    return steps[best];
  }

  // s of the odd number 2 s - 127 next to target / d.
  DODECA_LANE static V half_of(V target, V inverse) {
    return round(min(max(fma(target * inverse, V(0.5f), V(63.5f)), V(0.0f)), V(127.0f)));
  }
  DODECA_LANE static V odd(V half) { return fma(half, V(2.0f), V(-127.0f)); }

  // Of one tile with one table: the best s near the fit.
  template <class Levels>
  DODECA_LANE void try_table(int k, V d, V target, const Levels& levels, V& best_half, V& best_error) const {
    const V middle = half_of(target, signed_inverse_of(d));
    for (int a = -kReach; a <= kReach; ++a) {
      const V half = min(max(middle + V(static_cast<float>(a)), V(0.0f)), V(127.0f));
      const V error = symmetric_error<32, kWeighted>(tile_.x + k, tile_.w + k, odd(half) * d, levels);
      const auto better = error < best_error;
      best_error = select(better, error, best_error);
      best_half = select(better, half, best_half);
    }
  }

  // The integers for d: their error, and the d that would fit them best. Written only at the end, because the fits are
  // overwritten then.
  double choose(float d, bool write) {
    double total = 0, aa = 0, xa = 0;
    alignas(64) float half[kTileLanes], table[kTileLanes], error[kTileLanes], ll[kTileLanes], xl[kTileLanes];
    for (std::int64_t i = 0; i < n_; i += kWeights) {
      const int n_lanes = load(i);
      alignas(64) float target[2][kTileLanes] = {};
      for (int k = 0; k < n_lanes; ++k) {
        const Fit fit = fit_of(i / 32 + k);
        for (int t = 0; t < 2; ++t) target[t][k] = fit.scale[t];
      }
      for (int k = 0; k < kTileLanes; k += V::kCount) {
        V half0(0.0f), error0(3e38f), half1(0.0f), error1(3e38f);
        try_table(k, V(d), V::load(target[0] + k), Iq4Levels{}, half0, error0);
        try_table(k, V(d), V::load(target[1] + k), ShiftedIq4Levels{}, half1, error1);
        const auto second = error1 < error0;
        const V best = select(second, half1, half0), inverse = signed_inverse_of(odd(best) * V(d));
        const auto sums0 = symmetric_sums<32, kWeighted>(tile_.x + k, tile_.w + k, inverse, Iq4Levels{});
        const auto sums1 = symmetric_sums<32, kWeighted>(tile_.x + k, tile_.w + k, inverse, ShiftedIq4Levels{});
        best.store(half + k);
        select(second, V(1.0f), V(0.0f)).store(table + k);
        select(second, error1, error0).store(error + k);
        select(second, sums1.ll, sums0.ll).store(ll + k);
        select(second, sums1.xl, sums0.xl).store(xl + k);
      }
      for (int k = 0; k < n_lanes; ++k) {
        const double a = 2 * half[k] - 127;
        total += error[k];
        aa += a * a * ll[k];
        xa += a * xl[k];
      }
      if (write) write_blocks(i, n_lanes, d, half, table);
    }
    refitted_ = aa > 0 ? static_cast<float>(xa / aa) : d;
    return total;
  }

  void write_blocks(std::int64_t i, int n_lanes, float d, const float* half, const float* table) {
    for (int first = 0; first < n_lanes; first += 8) {
      RowBlock numbers;
      for (int k = 0; k < 8; ++k) {
        const int lane = first + k;
        const float* x = x_ + i + lane * 32;
        const float inverse = signed_inverse_of(Lane((2 * half[lane] - 127) * d)).v;
        numbers.scale[k] = static_cast<std::uint8_t>(2 * static_cast<int>(half[lane]) + (table[lane] > 0 ? 1 : 0));
        if (table[lane] > 0) {
          symmetric_codes<V>(x, 32, inverse, ShiftedIq4Levels{}, numbers.code + 32 * k);
        } else {
          symmetric_codes<V>(x, 32, inverse, Iq4Levels{}, numbers.code + 32 * k);
        }
      }
      F::Block block{};
      F::write(numbers, block);
      std::memcpy(dst_ + F::kRowPrefix + static_cast<std::size_t>(i / 256 + first / 8) * sizeof block, &block,
                  sizeof block);
    }
  }

  const float* x_;
  const float* importance_;
  std::byte* dst_;
  std::int64_t n_;
  float refitted_ = 0;
  Tile<32> tile_;
};

template <>
struct Encoder<DType::kIQ4_KS> {
  template <class V, bool kWeighted>
  static void run(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
    RowOfIq4Ks<V, kWeighted>(x, importance, dst, n).encode();
  }
};

}  // namespace dodeca::quant
