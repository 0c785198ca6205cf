// Super-blocks on a lattice: magnitudes of kElements weights at a time are a point of a grid, signs lie beside them,
// and sub-blocks of kSub weights share a scale d * (2 s + 1) * unit, s in 0..15. IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS,
// IQ3_S.
//
// For a scale a, point p costs a^2 Q_p - 2 a P_p more than zero does, P_p = sum w |x| p and Q_p = sum w p^2. Both are
// independent of the scale, so that they are summed once for every point and each scale then tries every point. Where
// only an even number of signs in eight can be stored, an odd one turns the sign of one weight, which costs
// 4 a w |x| p: P_p - 2 min(w |x| p) in place of P_p tells that exactly. Lanes are groups of kElements weights.
#pragma once

#include <cstddef>
#include <cstring>

#include "quant/encode/odd_step.hpp"
#include "quant/encode/tile.hpp"
#include "quant/float_types.hpp"
#include "quant/formats/format.hpp"
#include "quant/iq_grids.hpp"

namespace dodeca::quant {

// The grids have three magnitudes in eight weights or eight in four: half a point is one of so many.
template <int kElements>
inline constexpr int kHalves = kElements == 8 ? 81 : 64;

template <int kGridPoints, int kGridElements, int kScaleWeights, bool kEvenSigns>
struct LatticeSpec {
  static constexpr int kPoints = kGridPoints, kElements = kGridElements, kSub = kScaleWeights;
  static constexpr bool kEven = kEvenSigns;
  const Grid<kPoints, kElements>& grid;
  float magnitudes[8];
  int step;    // magnitude / step is its number
  float unit;  // of the scale
  float largest;
  int rounds;
};

// Scales are tried three at a time: one reading of the costs serves them all.
constexpr int kAtOnce = 3;
// (No inline constants here: they would be weak symbols of the files with vector code.) The first of a sub-block, as
// parts of the one that maps its largest weight to the largest magnitude; then around the best of those.
constexpr float kFirstScales[kAtOnce] = {0.80f, 0.97f, 1.20f}, kNextScales[kAtOnce] = {0.92f, 1.0f, 1.09f};

template <class V, class Spec>
class Lattice {
 public:
  static constexpr int kElements = Spec::kElements, kPoints = Spec::kPoints;
  static constexpr int kGroups = 256 / kElements, kSets = kGroups / kTileLanes;
  static constexpr int kMagnitudes = kElements == 8 ? 3 : 8;
  static constexpr int kSubs = 256 / Spec::kSub, kGroupsPerSub = Spec::kSub / kElements;
  // With points of four, either half of the eight weights may hold the turned sign: both costs are kept.
  static constexpr bool kTwoCosts = Spec::kEven && kElements == 4;

  explicit Lattice(const Spec& spec) { number_halves(spec); }

  void encode(const float* x, const float* importance, const Spec& spec, RowBlock& numbers) {
    load(x, importance);
    for (int set = 0; set < kSets; ++set) {
      for (int k = 0; k < kTileLanes; k += V::kCount) sum_points(spec, set, k);
    }
    find_targets(spec);
    float d = f16_to_f32(finite_f16(best_odd_step<V, kSubs>(target_, target_q_, 15) / spec.unit));
    float best_error = 3e38f;
    for (int round = 0; round <= spec.rounds; ++round) {
      const float error = choose_scales(d * spec.unit);
      if (error < best_error) {
        best_error = error;
        numbers.d = f32_to_f16(d);
        for (int b = 0; b < kSubs; ++b) numbers.scale[b] = static_cast<std::uint8_t>(code_[b]);
        for (int g = 0; g < kGroups; ++g) numbers.index[g] = static_cast<std::uint16_t>(chosen_[g].point);
        for (int g = 0; g < kGroups; ++g) turned_[g] = chosen_[g].turned;
      }
      if (round == spec.rounds) break;
      float aa = 0, xa = 0;
      for (int b = 0; b < kSubs; ++b) {
        const float a = 2 * code_[b] + 1;
        aa += a * a * q_[b];
        xa += a * p_[b];
      }
      if (aa > 0 && xa > 0) d = f16_to_f32(finite_f16(xa / aa / spec.unit));
    }
    set_signs(x, spec, numbers);
  }

 private:
  struct Choice {
    int point;
    bool turned;
  };

  void load(const float* x, const float* importance) {
    for (int g = 0; g < kGroups; ++g) {
      bool odd = false;
      for (int j = 0; j < kElements; ++j) {
        const float v = x[kElements * g + j], limited = max(min(Lane(v < 0 ? -v : v), Lane(kMostValue)), Lane(0)).v;
        const float w = importance ? importance[kElements * g + j] : 1.0f;
        magnitude_[g / 16][j][g % 16] = limited;
        weight_[g / 16][j][g % 16] = min(max(Lane(w), Lane(kLeastImportance)), Lane(kMostImportance)).v;
        odd ^= v < 0;
      }
      odd_[g] = Spec::kEven && odd ? 1.0f : 0.0f;
    }
  }

  void number_halves(const Spec& spec) {
    for (int point = 0; point < kPoints; ++point) {
      const std::int8_t* values = spec.grid[static_cast<std::uint32_t>(point)];
      for (int half = 0; half < 2; ++half) {
        int number = 0;
        for (int j = kElements / 2 - 1; j >= 0; --j) {
          number = number * kMagnitudes + values[half * (kElements / 2) + j] / spec.step;
        }
        half_[point][half] = static_cast<std::uint8_t>(number);
      }
    }
  }

  // P and Q of every point for V::kCount groups: first of all halves, then a point is two of these.
  void sum_points(const Spec& spec, int set, int k) {
    struct Sums {
      V p, q, least;
    };
    Sums sums[2][kHalves<kElements>];
    for (int half = 0; half < 2; ++half) {
      V w[kElements / 2], wx[kElements / 2];
      for (int j = 0; j < kElements / 2; ++j) {
        const int element = half * (kElements / 2) + j;
        w[j] = V::load(weight_[set][element] + k);
        wx[j] = w[j] * V::load(magnitude_[set][element] + k);
      }
      for (int number = 0; number < kHalves<kElements>; ++number) {
        Sums s{V(0.0f), V(0.0f), V(3e38f)};
        int digits = number;
        for (int j = 0; j < kElements / 2; ++j) {
          const V value(spec.magnitudes[digits % kMagnitudes]);
          digits /= kMagnitudes;
          s.q = fma(w[j] * value, value, s.q);
          s.p = fma(wx[j], value, s.p);
          s.least = min(wx[j] * value, s.least);
        }
        sums[half][number] = s;
      }
    }
    const auto odd = V(0.5f) < V::load(odd_ + 16 * set + k);
    for (int point = 0; point < kPoints; ++point) {
      const Sums &first = sums[0][half_[point][0]], &second = sums[1][half_[point][1]];
      V p = first.p + second.p;
      if constexpr (Spec::kEven) {
        const V turned = p - V(2.0f) * min(first.least, second.least);
        if constexpr (kTwoCosts) {
          (V(-2.0f) * turned).store(turned_p_[set][point] + k);
        } else {
          p = select(odd, turned, p);
        }
      }
      (V(-2.0f) * p).store(cost_p_[set][point] + k);
      (first.q + second.q).store(cost_q_[set][point] + k);
    }
  }

  // A scale for every sub-block and what follows from it.
  struct Trial {
    float scale[kSubs];
    Choice chosen[kGroups];
    float p[kSubs], q[kSubs];  // sums over the chosen points
  };

  // The best points for the scales of each trial.
  void choose_points(Trial (&trials)[kAtOnce]) {
    using PerGroup = float[kAtOnce][kGroups];
    alignas(64) PerGroup scale, cost, point, turned_cost, turned_point;
    for (int t = 0; t < kAtOnce; ++t) {
      for (int g = 0; g < kGroups; ++g) scale[t][g] = trials[t].scale[g / kGroupsPerSub];
    }
    for (int set = 0; set < kSets; ++set) {
      for (int k = 0; k < kTileLanes; k += V::kCount) {
        best_points(cost_p_[set], cost_q_[set], k, 16 * set + k, scale, cost, point);
        if constexpr (kTwoCosts) {
          best_points(turned_p_[set], cost_q_[set], k, 16 * set + k, scale, turned_cost, turned_point);
        }
      }
    }
    for (int t = 0; t < kAtOnce; ++t) {
      Trial& trial = trials[t];
      for (int g = 0; g < kGroups; ++g) trial.chosen[g] = {static_cast<int>(point[t][g]), Spec::kEven && odd_[g] > 0};
      if constexpr (kTwoCosts) {
        for (int g = 0; g < kGroups; g += 2) {
          const bool odd = (odd_[g] > 0) != (odd_[g + 1] > 0);
          trial.chosen[g].turned = trial.chosen[g + 1].turned = false;
          if (!odd) continue;
          const int which = turned_cost[t][g] + cost[t][g + 1] < cost[t][g] + turned_cost[t][g + 1] ? g : g + 1;
          trial.chosen[which] = {static_cast<int>(turned_point[t][which]), true};
        }
      }
      for (int b = 0; b < kSubs; ++b) {
        float p = 0, q = 0;
        for (int g = b * kGroupsPerSub; g < (b + 1) * kGroupsPerSub; ++g) {
          const Choice& c = trial.chosen[g];
          float twice_p = cost_p_[g / 16][c.point][g % 16];
          if constexpr (kTwoCosts) {
            if (c.turned) twice_p = turned_p_[g / 16][c.point][g % 16];
          }
          p += -0.5f * twice_p;
          q += cost_q_[g / 16][c.point][g % 16];
        }
        trial.p[b] = p;
        trial.q[b] = q;
      }
    }
  }

  DODECA_LANE static void best_points(const float (*cost_p)[16], const float (*cost_q)[16], int k, int group,
                                      const float (*scale)[kGroups], float (*best_cost)[kGroups],
                                      float (*best_index)[kGroups]) {
    V a[kAtOnce], cost[kAtOnce], index[kAtOnce];
    for (int t = 0; t < kAtOnce; ++t) {
      a[t] = V::load(scale[t] + group);
      cost[t] = V(3e38f);
      index[t] = V(0.0f);
    }
    V number(0.0f);
    for (int point = 0; point < kPoints; ++point) {
      const V p = V::load(cost_p[point] + k), q = V::load(cost_q[point] + k);
      for (int t = 0; t < kAtOnce; ++t) {
        const V c = fma(q, a[t], p);
        index[t] = select(c < cost[t], number, index[t]);
        cost[t] = min(c, cost[t]);
      }
      number = number + V(1.0f);
    }
    for (int t = 0; t < kAtOnce; ++t) {
      cost[t].store(best_cost[t] + group);
      index[t].store(best_index[t] + group);
    }
  }

  // Unconstrained scales of the sub-blocks.
  void find_targets(const Spec& spec) {
    float gain[kSubs];
    for (int b = 0; b < kSubs; ++b) {
      float most = 0;
      for (int g = b * kGroupsPerSub; g < (b + 1) * kGroupsPerSub; ++g) {
        for (int j = 0; j < kElements; ++j) most = max(Lane(magnitude_[g / 16][j][g % 16]), Lane(most)).v;
      }
      gain[b] = -1;
      target_[b] = most / spec.largest;
      target_q_[b] = 0;
    }
    Trial trials[kAtOnce];
    for (const float* parts : {kFirstScales, kNextScales}) {
      for (int t = 0; t < kAtOnce; ++t) {
        for (int b = 0; b < kSubs; ++b) trials[t].scale[b] = target_[b] * parts[t];
      }
      choose_points(trials);
      for (const Trial& trial : trials) {
        for (int b = 0; b < kSubs; ++b) {
          const float p = trial.p[b], q = trial.q[b], g = q > 0 ? p * (p / q) : 0;  // p * p may overflow
          if (!(p > 0 && g > gain[b])) continue;
          gain[b] = g;
          target_[b] = p / q;
          target_q_[b] = q;
        }
      }
    }
  }

  // For a step: codes and points of the least error, relative to all zeros.
  float choose_scales(float step) {
    Trial trials[kAtOnce];
    float codes[kAtOnce][kSubs];
    for (int b = 0; b < kSubs; ++b) {
      const Lane wanted(step > 1e-20f ? 0.5f * (target_[b] / step) - 0.5f : 0);
      const Lane middle = round(min(max(wanted, Lane(0)), Lane(15)));
      for (int t = 0; t < kAtOnce; ++t) {
        const int away = t - kAtOnce / 2;
        codes[t][b] = min(max(middle + Lane(static_cast<float>(away)), Lane(0)), Lane(15)).v;
        trials[t].scale[b] = step * (2 * codes[t][b] + 1);
      }
    }
    choose_points(trials);
    float total = 0;
    for (int b = 0; b < kSubs; ++b) {
      int best = 0;
      float best_error = 3e38f;
      for (int t = 0; t < kAtOnce; ++t) {
        const float a = trials[t].scale[b], error = a * (a * trials[t].q[b] - 2 * trials[t].p[b]);
        if (!(error < best_error)) continue;
        best_error = error;
        best = t;
      }
      const Trial& trial = trials[best];
      total += best_error;
      code_[b] = codes[best][b];
      p_[b] = trial.p[b];
      q_[b] = trial.q[b];
      if (q_[b] > 0 && p_[b] > 0) target_[b] = p_[b] / q_[b];
      for (int g = b * kGroupsPerSub; g < (b + 1) * kGroupsPerSub; ++g) chosen_[g] = trial.chosen[g];
    }
    return total;
  }

  void set_signs(const float* x, const Spec& spec, RowBlock& numbers) const {
    for (auto& byte : numbers.sign) byte = 0;
    for (int g = 0; g < kGroups; ++g) {
      unsigned bits = 0;
      int cheapest = 0;
      float least = 3e38f;
      for (int j = 0; j < kElements; ++j) {
        if (x[kElements * g + j] < 0) bits |= 1u << j;
        const float cost = weight_[g / 16][j][g % 16] * magnitude_[g / 16][j][g % 16] *
                           static_cast<float>(spec.grid[numbers.index[g]][j]);
        if (cost < least) {
          least = cost;
          cheapest = j;
        }
      }
      if (turned_[g]) bits ^= 1u << cheapest;
      const int at = kElements * g;
      numbers.sign[at / 8] = static_cast<std::uint8_t>(numbers.sign[at / 8] | (bits << (at % 8)));
    }
  }

  alignas(64) float magnitude_[kSets][kElements][16], weight_[kSets][kElements][16];
  alignas(64) float odd_[kGroups];
  alignas(64) float cost_p_[kSets][kPoints][16];  // -2 P
  alignas(64) float cost_q_[kSets][kPoints][16];
  alignas(64) float turned_p_[kTwoCosts ? kSets : 1][kTwoCosts ? kPoints : 1][16];
  float target_[kSubs], target_q_[kSubs], p_[kSubs], q_[kSubs], code_[kSubs];
  Choice chosen_[kGroups];
  bool turned_[kGroups];
  std::uint8_t half_[kPoints][2];
};

template <class V, class Format, class Spec>
void encode_lattice(const float* x, const float* importance, std::byte* dst, std::int64_t n, const Spec& spec) {
  Lattice<V, Spec> lattice(spec);
  RowBlock numbers;
  for (std::int64_t i = 0; i < n; i += 256, dst += sizeof(typename Format::Block)) {
    lattice.encode(x + i, importance ? importance + i : nullptr, spec, numbers);
    if (Spec::kEven) {  // the eighth sign follows from seven
      for (std::uint8_t& sign : numbers.sign) sign &= 127;
    }
    typename Format::Block block{};
    Format::write(numbers, block);
    std::memcpy(dst, &block, sizeof block);
  }
}

}  // namespace dodeca::quant
