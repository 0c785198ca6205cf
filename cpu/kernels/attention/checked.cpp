#include "cpu/kernels/attention/checked.hpp"

#include <cstddef>
#include <cstdint>

namespace dodeca::cpu {
namespace {

[[maybe_unused]] bool aligned(const std::byte* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 64 == 0; }

[[maybe_unused]] bool has_chunk(std::int64_t n) { return 0 < n && n <= kChunkPositions; }

void check_shape([[maybe_unused]] const IntegerShape& s) {
  DODECA_CHECK(s.key > 0 && s.key % 32 == 0, s.key);
  DODECA_CHECK(s.rope >= 0 && s.rope % 2 == 0, s.rope);
  DODECA_CHECK(s.value >= 0 && s.value % 16 == 0, s.value);
}

}  // namespace

void check_step(const PackQueriesArgs& args) noexcept {
  check_shape(args.shape);
  DODECA_CHECK(args.n >= 0 && (args.n <= 1 || args.q_stride >= args.shape.key + args.shape.rope), args.n,
               args.q_stride);
  DODECA_CHECK(aligned(args.out), args.out);
}

void check_step(const LoadCacheArgs& args) noexcept {
  check_shape(args.shape);
  DODECA_CHECK(has_chunk(args.n), args.n);
  DODECA_CHECK(args.shape.value <= args.shape.key, args.shape.value, args.shape.key);
  DODECA_CHECK((args.dtype == quant::DType::kI8) == (args.shape.digits == Digits::k8), args.dtype, args.shape.digits);
  DODECA_CHECK(aligned(args.chunk), args.chunk);
}

void check_step(const LoadHeadArgs& args) noexcept {
  check_shape(args.shape);
  DODECA_CHECK(has_chunk(args.n), args.n);
  DODECA_CHECK(args.shape.rope == args.rope_shape.rope, args.shape.rope, args.rope_shape.rope);
  DODECA_CHECK(aligned(args.chunk) && aligned(args.rope_from), args.chunk, args.rope_from);
}

void check_step(const LoadRowsArgs& args) noexcept {
  check_shape(args.shape);
  DODECA_CHECK(has_chunk(args.n) && args.shape.rope == 0, args.n, args.shape.rope);
  DODECA_CHECK((args.key_dtype == quant::DType::kI8) == (args.shape.digits == Digits::k8), args.key_dtype,
               args.shape.digits);
  DODECA_CHECK((args.value_dtype == quant::DType::kI8) == (args.shape.value_digits == Digits::k8), args.value_dtype,
               args.shape.value_digits);
  DODECA_CHECK(aligned(args.chunk), args.chunk);
}

void check_step(const ProjectArgs& args) noexcept {
  check_shape(args.shape);
  DODECA_CHECK(has_chunk(args.n), args.n);
  DODECA_CHECK(args.n_lanes % kStripLanes == 0 && args.out_stride >= args.n_lanes, args.n_lanes, args.out_stride);
}

void check_step(const FoldArgs& args) noexcept {
  check_shape(args.shape);
  DODECA_CHECK(has_chunk(args.n), args.n);
  DODECA_CHECK(args.n_lanes >= 0 && args.acc_stride >= args.shape.value, args.n_lanes, args.acc_stride);
  for (std::int64_t lane = 0; kChecks && lane < args.n_lanes; ++lane)
    DODECA_CHECK((args.hidden == nullptr ? 0 : args.hidden[lane]) <= args.visible[lane] && args.visible[lane] >= 0 &&
                     args.visible[lane] <= args.n,
                 lane, args.visible[lane], args.n);
}

}  // namespace dodeca::cpu
