// Super-blocks of x ~ d * scale_k * l with signed integers scale_k: Q3_K, Q6_K, IQ4_XS. As affine_super.hpp: d is tried
// as the f16 value that is stored, and for each the integers are chosen again by exact error.
#pragma once

#include "quant/encode/symmetric.hpp"
#include "quant/float_types.hpp"

namespace dodeca::quant {

// The result for a tile: 16 sub-blocks, that is 256 / kSub of them per super-block.
struct SymmetricCodes {
  float d[kTileLanes];  // of the lane's super-block; f16 values
  float scale[kTileLanes];
  float error[kTileLanes];
};

// How a format limits its integers, and how hard to search.
template <class Levels>
struct SymmetricSuperSpec {
  Levels levels;
  float least_code, most_code;  // of scale_k
  int first_code;               // what is stored for it is scale_k + first_code
  SymmetricTrials trials;
  int rounds;  // that fit the step and choose again
  int reach;   // how far from its target a scale is tried
};

template <int kSub, bool kWeighted, class V, class Levels>
struct SymmetricSuper {
  using Spec = SymmetricSuperSpec<Levels>;
  static constexpr int kPerBlock = 256 / kSub;

  // The step, of either sign, whose whole multiples come closest to the targets.
  DODECA_LANE static float best_step(const float* target, const float* weight, const Spec& spec) {
    constexpr int kSteps = 32;
    float extreme = 0;
    for (int k = 0; k < kPerBlock; ++k) {
      if (magnitude(Lane(extreme)) < magnitude(Lane(target[k]))) extreme = target[k];
    }
    if (!(kNoScale < magnitude(Lane(extreme)).v)) return 0;
    alignas(64) float steps[kSteps], errors[kSteps];
    for (int c = 0; c < kSteps; ++c) {
      steps[c] = extreme / (spec.least_code * (1.02f - 0.01f * static_cast<float>(c)));
    }
    for (int c = 0; c < kSteps; c += V::kCount) {
      const V step = V::load(steps + c), inverse = V(1.0f) / step;
      V error(0.0f);
      for (int k = 0; k < kPerBlock; ++k) {
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

  DODECA_LANE static void choose(const Tile<kSub>& tile, const float* targets, const Spec& spec, SymmetricCodes& out) {
    for (int k = 0; k < kTileLanes; k += V::kCount) {
      const V d = V::load(out.d + k);
      const V middle =
          round(min(max(V::load(targets + k) * signed_inverse_of(d), V(spec.least_code)), V(spec.most_code)));
      V best_code(0.0f), best_error(3e38f);
      for (int a = -spec.reach; a <= spec.reach; ++a) {
        const V code = min(max(middle + V(static_cast<float>(a)), V(spec.least_code)), V(spec.most_code));
        const V error = symmetric_error<kSub, kWeighted>(tile.x + k, tile.w + k, code * d, spec.levels);
        const auto better = error < best_error;
        best_error = select(better, error, best_error);
        best_code = select(better, code, best_code);
      }
      best_code.store(out.scale + k);
      best_error.store(out.error + k);
    }
  }

  // Targets anew from the codes that were chosen, and d by least squares with these.
  DODECA_LANE static void refit(const Tile<kSub>& tile, const Spec& spec, float* targets, SymmetricCodes& out) {
    alignas(64) float ll[kTileLanes], xl[kTileLanes];
    for (int k = 0; k < kTileLanes; k += V::kCount) {
      const V inverse = signed_inverse_of(V::load(out.scale + k) * V::load(out.d + k));
      const SymmetricSums<V> s = symmetric_sums<kSub, kWeighted>(tile.x + k, tile.w + k, inverse, spec.levels);
      s.ll.store(ll + k);
      s.xl.store(xl + k);
      select(V(0.0f) < s.ll, s.xl / max(s.ll, V(1e-30f)), V::load(targets + k)).store(targets + k);
    }
    for (int first = 0; first < kTileLanes; first += kPerBlock) {
      float aa = 0, xa = 0;
      for (int k = first; k < first + kPerBlock; ++k) {
        aa += out.scale[k] * out.scale[k] * ll[k];
        xa += out.scale[k] * xl[k];
      }
      if (aa > 0) set_step(first, xa / aa, out);
    }
  }

  DODECA_LANE static void set_step(int first, float d, SymmetricCodes& out) {
    const float stored = f16_to_f32(finite_f16(d));
    for (int k = first; k < first + kPerBlock; ++k) out.d[k] = stored;
  }

  static void search(const Tile<kSub>& tile, const Spec& spec, SymmetricCodes& best) {
    alignas(64) float targets[kTileLanes], weights[kTileLanes];
    for (int k = 0; k < kTileLanes; k += V::kCount) {
      const SymmetricFit<V> fit =
          symmetric_search<kSub, kWeighted, V>(tile.x + k, tile.w + k, spec.levels, spec.trials);
      fit.scale.store(targets + k);
      fit.ll.store(weights + k);
    }
    SymmetricCodes found;
    for (int first = 0; first < kTileLanes; first += kPerBlock) {
      set_step(first, best_step(targets + first, weights + first, spec), found);
    }
    choose(tile, targets, spec, found);
    best = found;
    for (int round = 0; round < spec.rounds; ++round) {
      refit(tile, spec, targets, found);
      choose(tile, targets, spec, found);
      keep_better<kPerBlock>(best, found, &SymmetricCodes::d, &SymmetricCodes::scale);
    }
  }
};

}  // namespace dodeca::quant
