// What the lanes of a warp do together: shuffles, votes, sums. See Block::warp_call for what is found.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "gpu/emulation/block.hpp"

namespace dodeca::gpu::emulation {

// Operand has `static void complete(Operand* const lanes[32], std::uint32_t mask)`, run once for all lanes.
template <class Operand>
[[gnu::no_sanitize_thread]] inline void together(const char* name, std::uint32_t mask, Operand& operand,
                                                 const Site& site, bool orders_memory = false) {
  WarpCall call;
  call.name = name;
  call.mask = mask;
  call.complete = &Operand::complete;
  call.operand = &operand;
  call.orders_memory = orders_memory;
  call.site = site;
  current_block->warp_call(call);
}

struct NoOperand {
  static void complete(void* const*, std::uint32_t) {}
};

// The value of lane `source`; of the own lane where source is negative.
template <class T>
struct ShuffleOperand {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8, "shuffles take 32 or 64 bits");
  T value;
  int source;
  T result;
  [[gnu::no_sanitize_thread]] static void complete(void* const operands[32], std::uint32_t) {
    for (int lane = 0; lane < 32; ++lane) {
      if (operands[lane] == nullptr) continue;
      auto& self = *static_cast<ShuffleOperand*>(operands[lane]);
      const int source = self.source < 0 ? lane : self.source;
      if (operands[source] == nullptr) current_block->fail_shuffle(source);
      self.result = static_cast<ShuffleOperand*>(operands[source])->value;
    }
  }
};

template <class T>
struct VoteOperand {
  T value;
  std::uint32_t result;  // lanes for which something holds
  // Which lanes have a value that is not zero.
  [[gnu::no_sanitize_thread]] static void complete(void* const operands[32], std::uint32_t) {
    std::uint32_t votes = 0;
    for (int lane = 0; lane < 32; ++lane)
      if (operands[lane] != nullptr && static_cast<VoteOperand*>(operands[lane])->value != 0) votes |= 1u << lane;
    for (int lane = 0; lane < 32; ++lane)
      if (operands[lane] != nullptr) static_cast<VoteOperand*>(operands[lane])->result = votes;
  }
};

template <class T>
struct MatchOperand {
  T value;
  std::uint32_t result;  // lanes with the same value
  [[gnu::no_sanitize_thread]] static void complete(void* const operands[32], std::uint32_t) {
    for (int lane = 0; lane < 32; ++lane) {
      if (operands[lane] == nullptr) continue;
      auto& self = *static_cast<MatchOperand*>(operands[lane]);
      self.result = 0;
      for (int other = 0; other < 32; ++other)
        if (operands[other] != nullptr && static_cast<MatchOperand*>(operands[other])->value == self.value)
          self.result |= 1u << other;
    }
  }
};

// All lanes get the values of all.
template <class T>
struct GatherOperand {
  T value;
  T all[32];
  [[gnu::no_sanitize_thread]] static void complete(void* const operands[32], std::uint32_t) {
    for (int lane = 0; lane < 32; ++lane) {
      if (operands[lane] == nullptr) continue;
      for (int other = 0; other < 32; ++other)
        if (operands[other] != nullptr)
          static_cast<GatherOperand*>(operands[lane])->all[other] = static_cast<GatherOperand*>(operands[other])->value;
    }
  }
};

// NOLINTBEGIN(readability-identifier-naming): CUDA's names
[[gnu::no_sanitize_thread]] inline int own_lane() { return static_cast<int>(current_block->thread().lane()); }

template <class T>
T shuffle(const char* name, std::uint32_t mask, T value, int source, const Site& site) {
  ShuffleOperand<T> operand{value, source, value};
  together(name, mask, operand, site);
  return operand.result;
}
// Lanes are taken in groups of `width`, a power of two; a source outside one's group is one's own lane.
template <class T>
T __shfl_sync(std::uint32_t mask, T value, int source, int width = 32, Site site = Site::current()) {
  return shuffle("__shfl_sync", mask, value, (own_lane() & -width) | (source & (width - 1)), site);
}
template <class T>
T __shfl_up_sync(std::uint32_t mask, T value, unsigned delta, int width = 32, Site site = Site::current()) {
  const int source = own_lane() - static_cast<int>(delta);
  return shuffle("__shfl_up_sync", mask, value, source < (own_lane() & -width) ? -1 : source, site);
}
template <class T>
T __shfl_down_sync(std::uint32_t mask, T value, unsigned delta, int width = 32, Site site = Site::current()) {
  const int source = own_lane() + static_cast<int>(delta);
  return shuffle("__shfl_down_sync", mask, value, source >= (own_lane() & -width) + width ? -1 : source, site);
}
template <class T>
T __shfl_xor_sync(std::uint32_t mask, T value, int lanes, int width = 32, Site site = Site::current()) {
  const int source = own_lane() ^ lanes;
  // Groups before one's own can be read, those after it cannot.
  return shuffle("__shfl_xor_sync", mask, value, source >= (own_lane() & -width) + width ? -1 : source, site);
}

inline std::uint32_t __ballot_sync(std::uint32_t mask, int predicate, Site site = Site::current()) {
  VoteOperand<int> operand{predicate, 0};
  together("__ballot_sync", mask, operand, site);
  return operand.result;
}
inline int __any_sync(std::uint32_t mask, int predicate, Site site = Site::current()) {
  VoteOperand<int> operand{predicate, 0};
  together("__any_sync", mask, operand, site);
  return operand.result != 0 ? 1 : 0;
}
inline int __all_sync(std::uint32_t mask, int predicate, Site site = Site::current()) {
  VoteOperand<int> operand{predicate, 0};
  together("__all_sync", mask, operand, site);
  return operand.result == mask ? 1 : 0;
}
template <class T>
std::uint32_t __match_any_sync(std::uint32_t mask, T value, Site site = Site::current()) {
  MatchOperand<T> operand{value, 0};
  together("__match_any_sync", mask, operand, site);
  return operand.result;
}

// Integers of 32 bits.
template <class T, class Operation>
T reduce(const char* name, std::uint32_t mask, T value, Operation operation, const Site& site) {
  static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>);
  GatherOperand<T> operand{value, {}};
  together(name, mask, operand, site);
  T result = operand.all[std::countr_zero(mask)];
  for (std::uint32_t rest = mask & (mask - 1); rest != 0; rest &= rest - 1)
    result = operation(result, operand.all[std::countr_zero(rest)]);
  return result;
}
#define REDUCTION(name, expression)                                          \
  template <class T>                                                         \
  T name(std::uint32_t mask, T value, Site site = Site::current()) {         \
    return reduce(                                                           \
        #name, mask, value, [](T a, T b) -> T { return expression; }, site); \
  }
REDUCTION(__reduce_add_sync, static_cast<T>(static_cast<unsigned>(a) + static_cast<unsigned>(b)))
REDUCTION(__reduce_min_sync, a < b ? a : b)
REDUCTION(__reduce_max_sync, a > b ? a : b)
REDUCTION(__reduce_and_sync, a& b)
REDUCTION(__reduce_or_sync, a | b)
REDUCTION(__reduce_xor_sync, a ^ b)
#undef REDUCTION

inline void __syncwarp(std::uint32_t mask = 0xffffffffu, Site site = Site::current()) {
  NoOperand operand;
  together("__syncwarp", mask, operand, site, true);
}
// NOLINTEND(readability-identifier-naming)

}  // namespace dodeca::gpu::emulation
