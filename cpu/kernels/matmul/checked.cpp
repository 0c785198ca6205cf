#include "cpu/kernels/matmul/checked.hpp"

#include <cstdint>

#include "cpu/kernels/matmul/matmul.hpp"
#include "cpu/kernels/quantize_act/quantize_act.hpp"

namespace dodeca::cpu {
namespace {

inline bool aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 64 == 0; }

}  // namespace

void check_matmul(const MatmulArgs& args) noexcept {
  DODECA_CHECK(args.layout != nullptr);
  DODECA_CHECK(args.n_in > 0 && args.n_out > 0 && args.n_acts >= 0, args.n_in, args.n_out, args.n_acts);
  DODECA_CHECK(0 <= args.tile_begin && args.tile_begin <= args.tile_end &&
                   args.tile_end <= (args.n_out + kTileRows - 1) / kTileRows,
               args.tile_begin, args.tile_end, args.n_out);
  if (args.n_acts == 0 || args.tile_begin == args.tile_end) return;
  DODECA_CHECK(args.weights != nullptr && aligned(args.weights), args.weights);
  DODECA_CHECK(args.acts != nullptr && aligned(args.acts), args.acts);
  DODECA_CHECK(args.scratch != nullptr && aligned(args.scratch), args.scratch);
  DODECA_CHECK(args.act_stride % 64 == 0, args.act_stride);
  DODECA_CHECK(args.n_acts == 1 || args.act_stride >= act_row_bytes(args.layout->act, args.n_in), args.act_stride,
               args.n_in, args.layout->act);
  DODECA_CHECK(args.n_in % quant::type_info(args.layout->dtype).block_elements == 0, args.n_in, args.layout->dtype);
  DODECA_CHECK(args.out != nullptr);
  for (std::int64_t i = 0; kChecks && args.act_rows != nullptr && i < args.n_acts; ++i)
    DODECA_CHECK(args.act_rows[i] >= 0, i, args.act_rows[i]);
}

}  // namespace dodeca::cpu
