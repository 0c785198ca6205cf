// The values that a code can stand for, before the scale: whole numbers, or the sixteen of the IQ4 types.
// nearest(v): the value next to v; code(v): what is stored for it, from 0.
#pragma once

#include "quant/encode/lanes.hpp"
#include "quant/formats/iq4.hpp"

namespace dodeca::quant {

struct WholeLevels {
  float least, most;
  float extreme() const { return least; }  // of largest magnitude: where a block's largest weight goes
  template <class V>
  DODECA_LANE V nearest(V v) const {
    return round(min(max(v, V(least)), V(most)));
  }
  template <class V>
  DODECA_LANE V code(V v) const {
    return nearest(v) - V(least);
  }
};

// The range -128 .. 127 in 32 steps of 8: between two neighbouring values lies at least that much, so a step has the
// border between at most two of them.
struct Iq4Steps {
  float border[32], below[32], above[32], code[32];  // code: of `below`
};
constexpr Iq4Steps make_iq4_steps() {
  Iq4Steps steps{};
  for (int step = 0; step < 32; ++step) {
    int k = 0;
    while (k < 14 && 0.5f * static_cast<float>(kIq4Values[k] + kIq4Values[k + 1]) < static_cast<float>(8 * step - 128))
      ++k;
    steps.border[step] = 0.5f * static_cast<float>(kIq4Values[k] + kIq4Values[k + 1]);
    steps.below[step] = kIq4Values[k];
    steps.above[step] = kIq4Values[k + 1];
    steps.code[step] = static_cast<float>(k);
  }
  return steps;
}
alignas(64) constexpr Iq4Steps kIq4Steps = make_iq4_steps();

struct Iq4Levels {
  float extreme() const { return kIq4Values[0]; }
  template <class V>
  DODECA_LANE static V step_of(V v) {  // 0 .. 31
    return round(min(max(fma(v, V(0.125f), V(15.5f)), V(0.0f)), V(31.0f)));
  }
  template <class V>
  DODECA_LANE V nearest(V v) const {
    const V step = step_of(v);
    return select(V::lookup(kIq4Steps.border, step) < v, V::lookup(kIq4Steps.above, step),
                  V::lookup(kIq4Steps.below, step));
  }
  template <class V>
  DODECA_LANE V code(V v) const {
    const V step = step_of(v), code = V::lookup(kIq4Steps.code, step);
    return select(V::lookup(kIq4Steps.border, step) < v, code + V(1.0f), code);
  }
};

}  // namespace dodeca::quant
