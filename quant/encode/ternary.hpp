// Super-blocks of ternary lattice points: IQ1_S and IQ1_M. A weight is a (t + delta), eight t at a time being a point of
// the grid and delta an eighth up or down. Sub-blocks of kSub weights share a = d (2 s + 1), s in 0..7; kShared weights
// share delta.
//
// For a and delta let r = x - a delta. Against t = 0 the sign of r as t costs w a (a - 2 |r|), the other sign always
// more than nothing. So only the points in the box of these signs are tried (ternary_boxes.hpp), all of them: the
// costs of its 256 sets are sums of one of 16 for the first four weights and one of 16 for the others. Lanes are these
// 16 sets of the first four; elsewhere weights, sub-blocks or steps.
#pragma once

#include <cstddef>
#include <cstring>

#include "quant/encode/odd_step.hpp"
#include "quant/encode/symmetric.hpp"
#include "quant/encode/ternary_boxes.hpp"
#include "quant/encode/tile.hpp"
#include "quant/float_types.hpp"
#include "quant/formats/format.hpp"

namespace dodeca::quant {

constexpr float kEighth = 0.125f;
// The first scales to try, as parts of a guess. With more of them and more rounds, errors are 0.3 % less.
constexpr float kGuessParts[2] = {0.9f, 1.1f};
// Bit j of the lane's number.
alignas(64) constexpr float kLaneBits[4][16] = {{0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1},
                                                {0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1},
                                                {0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1},
                                                {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1}};

// Costs of the 16 sets of four weights, given the cost of each weight.
template <class V>
DODECA_LANE void sum_sets(const float* cost, float* sets) {
  for (int k = 0; k < 16; k += V::kCount) {
    V sum = V(cost[0]) * V::load(kLaneBits[0] + k);
    for (int j = 1; j < 4; ++j) sum = fma(V(cost[j]), V::load(kLaneBits[j] + k), sum);
    sum.store(sets + k);
  }
}

// The least cost of the sets of eight weights that are points; `first` and `second` are those of four weights.
template <class V>
DODECA_LANE float least_cost(const float* first, const float* second, const std::uint16_t* members) {
  constexpr int kParts = 16 / V::kCount;
  V lowest[kParts];
  for (int part = 0; part < kParts; ++part) lowest[part] = V(3e38f);
  for (int k = 0; k < 16; ++k) {
    for (int part = 0; part < kParts; ++part) {
      const V cost = V::load(first + part * V::kCount) + V(second[k]);
      const auto allowed = V::mask(static_cast<unsigned>(members[k]) >> (part * V::kCount));
      lowest[part] = select(allowed, min(cost, lowest[part]), lowest[part]);
    }
  }
  for (int part = 1; part < kParts; ++part) lowest[0] = min(lowest[part], lowest[0]);
  return least(lowest[0]);
}
// The first set that costs as little.
template <class V>
DODECA_LANE unsigned find_set(const float* first, const float* second, const std::uint16_t* members, float lowest) {
  for (unsigned k = 0; k < 16; ++k) {
    unsigned found = 0;
    for (int lane = 0; lane < 16; lane += V::kCount) {
      const auto more = V(lowest) < V::load(first + lane) + V(second[k]);
      found |= (~V::bits(more) & ((1u << V::kCount) - 1)) << lane;
    }
    found &= members[k];
    if (found != 0) return 16 * k + static_cast<unsigned>(__builtin_ctz(found));
  }
  return 0;  // not reached: no box is empty
}

template <class V, int kSub, int kShared>
class Ternary {
 public:
  static constexpr int kSubs = 256 / kSub, kGroups = 32, kGroupsPerSub = kSub / 8, kGroupsPerShift = kShared / 8;

  void encode(const float* x, const float* importance, RowBlock& numbers) {
    load(x, importance);
    find_targets();
    float d = f16_to_f32(finite_f16(best_odd_step<V, kSubs>(target_, target_q_, 7)));
    float best_error = 3e38f;
    for (int round = 0; round <= kRounds; ++round) {
      const float error = choose_scales(d);
      if (error < best_error) {
        best_error = error;
        numbers.d = f32_to_f16(d);
        keep(numbers);
      }
      if (round == kRounds) break;
      float aa = 0, xa = 0;
      for (int b = 0; b < kSubs; ++b) {
        const float a = 2 * code_[b] + 1;
        aa += a * a * q_[b];
        xa += a * p_[b];
      }
      if (aa > 0 && xa > 0) d = f16_to_f32(finite_f16(xa / aa));
    }
  }

 private:
  static constexpr int kRounds = 1;
  using Bits = std::uint16_t[16];  // bit i % 16 of [i / 16] belongs to weight i

  static unsigned byte_of(const Bits& bits, int group) { return (bits[group / 2] >> (8 * (group % 2))) & 255u; }
  static void set_byte(Bits& bits, int group, unsigned byte) {
    bits[group / 2] = static_cast<std::uint16_t>(bits[group / 2] | byte << (8 * (group % 2)));
  }
  DODECA_LANE static auto mask_at(const Bits& bits, int i) {
    return V::mask(static_cast<unsigned>(bits[i / 16]) >> (i % 16));
  }

  void load(const float* x, const float* importance) {
    for (int i = 0; i < 256; i += V::kCount) {
      const V xi = max(min(V::load(x + i), V(kMostValue)), V(-kMostValue));
      const V w =
          importance == nullptr ? V(1.0f) : min(max(V::load(importance + i), V(kLeastImportance)), V(kMostImportance));
      xi.store(x_ + i);
      w.store(w_ + i);
      (w * xi).store(wx_ + i);
    }
    for (int b = 0; b < kSubs; ++b) {
      float square = 0, size = 0;
      for (int g = b * kGroupsPerSub; g < (b + 1) * kGroupsPerSub; ++g) {
        float w = 0, wx = 0, group_square = 0, group_size = 0;
        for (int i = 8 * g; i < 8 * g + 8; ++i) {
          w += w_[i];
          wx += wx_[i];
          group_square += wx_[i] * x_[i];
          group_size += magnitude(Lane(wx_[i])).v;
        }
        group_w_[g] = w;
        group_wx_[g] = wx;
        square += group_square;
        size += group_size;
      }
      // Near the best scale whatever the values' distribution (at it for Laplace's), and exact where all but zeros agree.
      target_[b] = size > 0 ? square / size : 0;
    }
  }

  // What sets cost whose weights have the sign of r as their t, and for each group the least in its box.
  struct Costs {
    alignas(64) float first[kGroups][16];   // of sets of the group's first four weights
    alignas(64) float second[kGroups][16];  // of the other four
    Bits negative;
    float group[kGroups], least[kGroups];  // least: against t = 0 with this delta; group: against zeros
  };
  void weigh(const float* scale, const Bits& down, Costs& out) const {
    alignas(64) float cost[256];
    for (auto& word : out.negative) word = 0;
    for (int i = 0; i < 256; i += V::kCount) {
      const V a(scale[i / kSub]);
      const V r = fma(a, select(mask_at(down, i), V(kEighth), V(-kEighth)), V::load(x_ + i));
      (V::load(w_ + i) * a * fma(magnitude(r), V(-2.0f), a)).store(cost + i);
      out.negative[i / 16] = static_cast<std::uint16_t>(out.negative[i / 16] | V::bits(r < V(0.0f)) << (i % 16));
    }
    for (int g = 0; g < kGroups; ++g) {
      sum_sets<V>(cost + 8 * g, out.first[g]);
      sum_sets<V>(cost + 8 * g + 4, out.second[g]);
    }
    for (int g = 0; g < kGroups; ++g) {
      const float shift = scale[g / kGroupsPerSub] * (byte_of(down, g) != 0 ? -kEighth : kEighth);
      out.least[g] = least_cost<V>(out.first[g], out.second[g], kTernaryBoxes.members[byte_of(out.negative, g)]);
      out.group[g] = out.least[g] + shift * (shift * group_w_[g] - 2 * group_wx_[g]);
    }
  }

  // The better shifts for the scales, and what each sub-block then costs.
  struct Trial {
    float scale[kSubs], cost[kSubs];
    Bits down;
  };
  void try_scales(Trial& trial) {
    constexpr Bits kUp = {};
    Bits all_down;
    for (auto& word : all_down) word = 0xffff;
    weigh(trial.scale, kUp, up_);
    weigh(trial.scale, all_down, down_);
    for (auto& word : trial.down) word = 0;
    for (int b = 0; b < kSubs; ++b) {
      float total = 0;
      for (int first = b * kGroupsPerSub; first < (b + 1) * kGroupsPerSub; first += kGroupsPerShift) {
        float up = 0, down = 0;
        for (int g = first; g < first + kGroupsPerShift; ++g) {
          up += up_.group[g];
          down += down_.group[g];
        }
        total += down < up ? down : up;
        if (!(down < up)) continue;
        for (int g = first; g < first + kGroupsPerShift; ++g) set_byte(trial.down, g, 255);
      }
      trial.cost[b] = total;
    }
  }
  // The same with the shifts that were chosen before.
  void try_scales_only(Trial& trial) {
    std::memcpy(trial.down, chosen_down_, sizeof trial.down);
    weigh(trial.scale, trial.down, up_);
    for (int b = 0; b < kSubs; ++b) {
      trial.cost[b] = 0;
      for (int g = b * kGroupsPerSub; g < (b + 1) * kGroupsPerSub; ++g) trial.cost[b] += up_.group[g];
    }
  }
  // Takes over the sub-blocks that cost less in `found`.
  static void keep_cheaper(Trial& best, const Trial& found) {
    for (int b = 0; b < kSubs; ++b) {
      if (!(found.cost[b] < best.cost[b])) continue;
      best.cost[b] = found.cost[b];
      best.scale[b] = found.scale[b];
      for (int g = b * kGroupsPerSub; g < (b + 1) * kGroupsPerSub; ++g) {
        best.down[g / 2] = static_cast<std::uint16_t>(best.down[g / 2] & ~(255u << (8 * (g % 2))));
        set_byte(best.down, g, byte_of(found.down, g));
      }
    }
  }

  // The points of a trial, P = sum w x (t + delta) and Q = sum w (t + delta)^2 of its sub-blocks, and the scales P / Q.
  void choose_points(const Trial& trial) {
    weigh(trial.scale, trial.down, up_);
    for (auto& word : set_) word = 0;
    for (int g = 0; g < kGroups; ++g) {
      const std::uint16_t* members = kTernaryBoxes.members[byte_of(up_.negative, g)];
      set_byte(set_, g, find_set<V>(up_.first[g], up_.second[g], members, up_.least[g]));
    }
    std::memcpy(chosen_down_, trial.down, sizeof chosen_down_);
    std::memcpy(negative_, up_.negative, sizeof negative_);
    alignas(64) float p[256], q[256], columns[256], p_sums[16], q_sums[16];
    for (int i = 0; i < 256; i += V::kCount) {
      const V t = select(mask_at(set_, i), select(mask_at(negative_, i), V(-1.0f), V(1.0f)), V(0.0f));
      const V value = t + select(mask_at(chosen_down_, i), V(-kEighth), V(kEighth));
      (V::load(wx_ + i) * value).store(p + i);
      (V::load(w_ + i) * value * value).store(q + i);
    }
    sum_sixteens(p, columns, p_sums);
    sum_sixteens(q, columns, q_sums);
    for (int b = 0; b < kSubs; ++b) {
      p_[b] = q_[b] = 0;
      for (int k = b * kSub / 16; k < (b + 1) * kSub / 16; ++k) {
        p_[b] += p_sums[k];
        q_[b] += q_sums[k];
      }
      if (p_[b] > 0 && q_[b] > 0) target_[b] = p_[b] / q_[b];
    }
  }
  DODECA_LANE static void sum_sixteens(const float* values, float* columns, float* sums) {
    V::transpose(values, 16, columns);
    for (int k = 0; k < 16; k += V::kCount) {
      V sum = V::load(columns + k);
      for (int i = 1; i < 16; ++i) sum = sum + V::load(columns + 16 * i + k);
      sum.store(sums + k);
    }
  }

  // Unconstrained scales of the sub-blocks.
  void find_targets() {
    Trial best{}, trial;
    for (auto& cost : best.cost) cost = 3e38f;
    for (const float part : kGuessParts) {
      for (int b = 0; b < kSubs; ++b) trial.scale[b] = target_[b] * part;
      try_scales(trial);
      keep_cheaper(best, trial);
    }
    choose_points(best);
    for (int b = 0; b < kSubs; ++b) target_q_[b] = q_[b];
  }

  // For a step: codes and points of the least error, relative to all zeros.
  float choose_scales(float step) {
    Trial best{}, trial;
    for (auto& cost : best.cost) cost = 3e38f;
    for (int away = 0; away < 2; ++away) {
      for (int b = 0; b < kSubs; ++b) {
        const float wanted = step > 0 ? 0.5f * (target_[b] / step) - 0.5f : 0;
        const float below = round(min(max(Lane(wanted), Lane(0)), Lane(7)) - Lane(0.5f)).v;
        trial.scale[b] = step * (2 * min(max(Lane(below + static_cast<float>(away)), Lane(0)), Lane(7)).v + 1);
      }
      // The shift of a whole sub-block hardly depends on the scale, that of eight weights does.
      if constexpr (kShared == kSub) {
        try_scales_only(trial);
      } else {
        try_scales(trial);
      }
      keep_cheaper(best, trial);
    }
    choose_points(best);
    float total = 0;
    for (int b = 0; b < kSubs; ++b) {
      total += best.cost[b];
      code_[b] = step > 0 ? round(Lane(0.5f * (best.scale[b] / step) - 0.5f)).v : 0;
    }
    return total;
  }

  void keep(RowBlock& numbers) const {
    for (int b = 0; b < kSubs; ++b) numbers.scale[b] = static_cast<std::uint8_t>(code_[b]);
    for (int g = 0; g < kGroups; ++g) {
      numbers.index[g] = kTernaryBoxes.point(byte_of(negative_, g), byte_of(set_, g));
      numbers.sign[g] = static_cast<std::uint8_t>(byte_of(chosen_down_, g) & 1u);
    }
  }

  alignas(64) float x_[256], w_[256], wx_[256];
  float group_w_[kGroups], group_wx_[kGroups];
  Costs up_, down_;
  Bits set_, negative_, chosen_down_;
  float target_[kSubs], target_q_[kSubs], p_[kSubs], q_[kSubs], code_[kSubs];
};

template <class V, class Format, int kSub, int kShared>
void encode_ternary(const float* x, const float* importance, std::byte* dst, std::int64_t n) {
  Ternary<V, kSub, kShared> ternary;
  RowBlock numbers;
  for (std::int64_t i = 0; i < n; i += 256, dst += sizeof(typename Format::Block)) {
    ternary.encode(x + i, importance ? importance + i : nullptr, numbers);
    typename Format::Block block{};
    Format::write(numbers, block);
    std::memcpy(dst, &block, sizeof block);
  }
}

}  // namespace dodeca::quant
