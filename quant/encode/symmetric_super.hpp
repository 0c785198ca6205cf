// Super-blocks of x ~ d * scale_k * l with signed integers scale_k: Q3_K, Q6_K. As affine_super.hpp: d is tried as the
// f16 value that is stored, and for each the integers are chosen again by exact error.
#pragma once

#include "quant/encode/symmetric.hpp"
#include "quant/float_types.hpp"

namespace dodeca::quant {

struct SymmetricCodes {
  float d;
  float scale[kTileLanes];
  float error[kTileLanes];
};

// How a format limits its integers, and how hard to search.
struct SymmetricSuperSpec {
  float half;                   // levels -half .. half - 1
  float least_code, most_code;  // of scale_k
  SymmetricTrials trials;
  int rounds, reach;
};

template <bool kWeighted, class V>
struct SymmetricSuper {
  static constexpr int kSub = 16, kSubs = 16;

  // The step, of either sign, whose whole multiples come closest to the targets.
  DODECA_LANE static float best_step(const float* target, const float* weight, const SymmetricSuperSpec& spec) {
    constexpr int kSteps = 32;
    float extreme = 0;
    for (int k = 0; k < kSubs; ++k) {
      if ((target[k] < 0 ? -target[k] : target[k]) > (extreme < 0 ? -extreme : extreme)) extreme = target[k];
    }
    if (!((extreme < 0 ? -extreme : extreme) > kNoScale)) return 0;
    alignas(64) float steps[kSteps], errors[kSteps];
    for (int c = 0; c < kSteps; ++c) {
      steps[c] = extreme / (spec.least_code * (1.02f - 0.01f * static_cast<float>(c)));
    }
    for (int c = 0; c < kSteps; c += V::kCount) {
      const V step = V::load(steps + c), inverse = V(1.0f) / step;
      V error(0.0f);
      for (int k = 0; k < kSubs; ++k) {
        const V t(target[k]);
        const V off = fma(round(min(max(t * inverse, V(spec.least_code)), V(spec.most_code))), step, -t);
        error = fma(V(weight[k]) * off, off, error);
      }
      error.store(errors + c);
    }
    int best = 0;
    for (int c = 1; c < kSteps; ++c) {
      if (errors[c] < errors[best]) best = c;
    }
    return steps[best];
  }

  DODECA_LANE static float choose(const Tile<kSub>& tile, const float* targets, const SymmetricSuperSpec& spec,
                                  SymmetricCodes& out) {
    const V d(out.d), inverse = signed_inverse_of(d);
    for (int k = 0; k < kSubs; k += V::kCount) {
      const V middle = round(min(max(V::load(targets + k) * inverse, V(spec.least_code)), V(spec.most_code)));
      V best_code(0.0f), best_error(3e38f);
      for (int a = -spec.reach; a <= spec.reach; ++a) {
        const V code = min(max(middle + V(static_cast<float>(a)), V(spec.least_code)), V(spec.most_code));
        const V error = symmetric_error<kSub, kWeighted>(tile.x + k, tile.w + k, code * d, spec.half);
        const auto better = error < best_error;
        best_error = select(better, error, best_error);
        best_code = select(better, code, best_code);
      }
      best_code.store(out.scale + k);
      best_error.store(out.error + k);
    }
    float total = 0;
    for (int k = 0; k < kSubs; ++k) total += out.error[k];
    return total;
  }

  // Targets anew from the codes that were chosen, and d by least squares with these.
  DODECA_LANE static void refit(const Tile<kSub>& tile, const SymmetricSuperSpec& spec, float* targets,
                                SymmetricCodes& out) {
    alignas(64) float ll[kSubs], xl[kSubs];
    for (int k = 0; k < kSubs; k += V::kCount) {
      const V inverse = signed_inverse_of(V::load(out.scale + k) * V(out.d));
      const SymmetricSums<V> s = symmetric_sums<kSub, kWeighted>(tile.x + k, tile.w + k, inverse, spec.half);
      s.ll.store(ll + k);
      s.xl.store(xl + k);
      const auto valid = V(0.0f) < s.ll;
      select(valid, s.xl / max(s.ll, V(1e-30f)), V::load(targets + k)).store(targets + k);
    }
    float aa = 0, xa = 0;
    for (int k = 0; k < kSubs; ++k) {
      aa += out.scale[k] * out.scale[k] * ll[k];
      xa += out.scale[k] * xl[k];
    }
    if (aa > 0) out.d = f16_to_f32(finite_f16(xa / aa));
  }

  static void search(const Tile<kSub>& tile, const SymmetricSuperSpec& spec, SymmetricCodes& best) {
    alignas(64) float targets[kSubs], weights[kSubs];
    for (int k = 0; k < kSubs; k += V::kCount) {
      const SymmetricFit<V> fit =
          symmetric_search<kSub, kWeighted, V>(tile.x + k, tile.w + k, spec.half, spec.trials);
      fit.scale.store(targets + k);
      fit.ll.store(weights + k);
    }
    SymmetricCodes found;
    found.d = f16_to_f32(finite_f16(best_step(targets, weights, spec)));
    float best_error = choose(tile, targets, spec, found);
    best = found;
    for (int round = 0; round < spec.rounds; ++round) {
      refit(tile, spec, targets, found);
      const float error = choose(tile, targets, spec, found);
      if (!(error < best_error)) continue;
      best_error = error;
      best = found;
    }
  }
};

}  // namespace dodeca::quant
