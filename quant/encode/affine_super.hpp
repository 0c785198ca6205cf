// Super-blocks of x ~ d * scale_k * l - dmin * min_k: Q2_K, Q4_K, Q5_K. The search is joint: d and dmin are tried as
// the f16 values that are stored, and for each the integers scale_k, min_k and l are chosen again by exact error.
#pragma once

#include "quant/encode/affine.hpp"
#include "quant/float_types.hpp"

namespace dodeca::quant {

// The result for a tile: 16 sub-blocks, that is 256 / kSub of them per super-block.
struct AffineCodes {
  float d[kTileLanes], dmin[kTileLanes];  // of the lane's super-block; f16 values
  float scale[kTileLanes], min[kTileLanes];
  float error[kTileLanes];
};

// How a format limits its integers, and how hard to search.
struct AffineSuperSpec {
  float max_level, max_code;  // of l; of scale_k and min_k
  AffineTrials trials;
  int rounds;  // that fit the steps and choose again
  int reach;   // how far from its target a scale is tried
};

struct AffineTargets {
  float scale[kTileLanes], min[kTileLanes];  // wanted, unconstrained
  float slope[kTileLanes];                   // how the best minimum moves with the scale
  float scale_weight[kTileLanes];            // error per squared change of the scale, the minimum following
  float min_weight[kTileLanes];              // of the minimum alone
};

// The step d, of kSteps tried between largest / most and largest / least, for which whole multiples of it, up to
// max_code, come closest to the targets.
template <class V>
DODECA_LANE float best_step(int n, const float* target, const float* weight, float max_code) {
  constexpr int kSteps = 32;
  float largest = 0;
  for (int k = 0; k < n; ++k) largest = target[k] > largest ? target[k] : largest;
  if (!(largest > kNoScale)) return 0;
  alignas(64) float steps[kSteps], errors[kSteps];
  for (int c = 0; c < kSteps; ++c) {
    const float at_largest = max_code * (1.08f - 0.015f * static_cast<float>(c));
    steps[c] = largest / at_largest;
  }
  for (int c = 0; c < kSteps; c += V::kCount) {
    const V step = V::load(steps + c), inverse = V(1.0f) / step;
    V error(0.0f);
    for (int k = 0; k < n; ++k) {
      const V t(target[k]);
      const V code = round(min(max(t * inverse, V(0.0f)), V(max_code)));
      const V off = fma(code, step, -t);
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

template <int kSub, bool kWeighted, class V>
struct AffineSuper {
  static constexpr int kPerBlock = 256 / kSub;

  // For d and dmin in out: the integers, by exact error among those next to the targets.
  DODECA_LANE static void choose(const Tile<kSub>& tile, const AffineTargets& targets, AffineSuperSpec spec,
                                 AffineCodes& out) {
    const V levels(spec.max_level), top(spec.max_code);
    for (int k = 0; k < kTileLanes; k += V::kCount) {
      const float *x = tile.x + k, *w = tile.w + k;
      const V d = V::load(out.d + k), dmin = V::load(out.dmin + k);
      const V inverse_dmin = inverse_of(dmin);
      const V scale = V::load(targets.scale + k), min_value = V::load(targets.min + k);
      const V slope = V::load(targets.slope + k);
      const V middle = round(min(scale * inverse_of(d), top));
      V best_scale(0.0f), best_min(0.0f), best_error(3e38f);
      for (int a = -spec.reach; a <= spec.reach; ++a) {
        const V code = min(max(middle + V(static_cast<float>(a)), V(0.0f)), top);
        const V value = code * d;
        const V wanted = fma(slope, value - scale, min_value) * inverse_dmin;
        const V below = round(min(max(wanted - V(0.5f), V(0.0f)), top));
        for (int b = 0; b <= 1; ++b) {
          const V min_code = min(below + V(static_cast<float>(b)), top);
          const V error = affine_error<kSub, kWeighted>(x, w, value, min_code * dmin, levels);
          const auto better = error < best_error;
          best_error = select(better, error, best_error);
          best_scale = select(better, code, best_scale);
          best_min = select(better, min_code, best_min);
        }
      }
      best_scale.store(out.scale + k);
      best_min.store(out.min + k);
      best_error.store(out.error + k);
    }
  }

  // Targets anew from the codes that were chosen, and d and dmin by least squares with these.
  DODECA_LANE static void refit(const Tile<kSub>& tile, const float* sum_w, const float* sum_x, float max_level,
                                AffineTargets& targets, AffineCodes& out) {
    alignas(64) float l[kTileLanes], ll[kTileLanes], xl[kTileLanes];
    for (int k = 0; k < kTileLanes; k += V::kCount) {
      const V scale = V::load(out.d + k) * V::load(out.scale + k), inverse = inverse_of(scale);
      const V offset = V::load(out.dmin + k) * V::load(out.min + k) * inverse;
      const AffineSums<V> s = affine_sums<kSub, kWeighted>(tile.x + k, tile.w + k, inverse, offset, V(max_level));
      s.l.store(l + k);
      s.ll.store(ll + k);
      s.xl.store(xl + k);
      const V weight = V::load(sum_w + k);
      const AffineFit<V> fit = solve_affine<false>(s, weight, V::load(sum_x + k));
      const auto valid = V(0.0f) < fit.gain;
      const V slope = s.l / weight;
      select(valid, fit.scale, V::load(targets.scale + k)).store(targets.scale + k);
      select(valid, fit.min, V::load(targets.min + k)).store(targets.min + k);
      select(valid, slope, V::load(targets.slope + k)).store(targets.slope + k);
    }
    for (int first = 0; first < kTileLanes; first += kPerBlock) {
      float aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
      for (int k = first; k < first + kPerBlock; ++k) {
        const float a = out.scale[k], b = out.min[k];
        aa += a * a * ll[k];
        ab += a * b * l[k];
        bb += b * b * sum_w[k];
        xa += a * xl[k];
        xb += b * sum_x[k];
      }
      float d = out.d[first], dmin = out.dmin[first];
      const float determinant = aa * bb - ab * ab;
      if (determinant > 1e-6f * aa * bb) {
        d = (xa * bb - xb * ab) / determinant;
        dmin = (xa * ab - xb * aa) / determinant;
      } else if (aa > 0 && !(bb > 0)) {
        d = xa / aa;
      }
      if (!(d > 0) || !(dmin >= 0)) continue;
      set_steps(first, d, dmin, out);
    }
  }

  DODECA_LANE static void set_steps(int first, float d, float dmin, AffineCodes& out) {
    const float stored_d = f16_to_f32(finite_f16(d)), stored_dmin = f16_to_f32(finite_f16(dmin));
    for (int k = first; k < first + kPerBlock; ++k) {
      out.d[k] = stored_d;
      out.dmin[k] = stored_dmin;
    }
  }

  static void search(const Tile<kSub>& tile, AffineSuperSpec spec, AffineCodes& best) {
    const float max_level = spec.max_level, max_code = spec.max_code;
    alignas(64) float sum_w[kTileLanes], sum_x[kTileLanes];
    AffineTargets targets;
    for (int k = 0; k < kTileLanes; k += V::kCount) {
      const float *x = tile.x + k, *w = tile.w + k;
      V weight(0.0f), total(0.0f);
      for (int i = 0; i < kSub; ++i) {
        const V xi = V::load(x + kTileLanes * i);
        const V wi = kWeighted ? V::load(w + kTileLanes * i) : V(1.0f);
        weight = weight + wi;
        total = fma(wi, xi, total);
      }
      weight.store(sum_w + k);
      total.store(sum_x + k);
      const AffineFit<V> fit = affine_search<kSub, kWeighted, false>(x, w, V(max_level), spec.trials);
      const V slope = fit.l / weight;
      fit.scale.store(targets.scale + k);
      fit.min.store(targets.min + k);
      slope.store(targets.slope + k);
      fma(-slope, fit.l, fit.ll).store(targets.scale_weight + k);
      weight.store(targets.min_weight + k);
    }
    AffineCodes found;
    for (int first = 0; first < kTileLanes; first += kPerBlock) {
      const float d = f16_to_f32(
          finite_f16(best_step<V>(kPerBlock, targets.scale + first, targets.scale_weight + first, max_code)));
      float mins[kPerBlock];
      for (int k = 0; k < kPerBlock; ++k) {
        const float scale = targets.scale[first + k];
        float code = d > 0 ? scale / d : 0;
        code = code < max_code ? code : max_code;
        code = (code + 12582912.0f) - 12582912.0f;
        mins[k] = targets.min[first + k] + targets.slope[first + k] * (code * d - scale);
      }
      set_steps(first, d, best_step<V>(kPerBlock, mins, targets.min_weight + first, max_code), found);
    }
    choose(tile, targets, spec, found);
    best = found;
    for (int round = 0; round < spec.rounds; ++round) {
      refit(tile, sum_w, sum_x, max_level, targets, found);
      choose(tile, targets, spec, found);
      keep_better<kPerBlock>(best, found, &AffineCodes::d, &AffineCodes::dmin, &AffineCodes::scale, &AffineCodes::min);
    }
  }
};

}  // namespace dodeca::quant
