// Products of many activation rows with F32 and BF16 weights by oneDNN, the only file that includes it.
//
// One shape does everything: 64 activation rows by 512 columns by 64 weight rows, padded with zeros and added up in
// ascending column order, so that a row's result depends neither on its companions nor on who computes it. Called
// inside a member of our team, where OpenMP is limited to one thread. Should oneDNN refuse the shape, our own kernel
// does the work.
#ifndef DODECA_SCALAR_ONLY

#include <algorithm>
#include <bit>
#include <cstring>
#include <dnnl.hpp>

#include "cpu/kernels/matmul/matmul.hpp"
#include "cpu/kernels/matmul/matmul_kernels.hpp"
#include "quant/formats/formats.hpp"

namespace dodeca::cpu::onednn {
namespace {

using dnnl::memory;

constexpr int kRows = 64, kColumns = 512, kTiles = 4, kWeights = kTiles * kTileRows;
constexpr int kChunk = 256;  // activation rows, converted once for
constexpr int kGroups = 4;   // this many groups of kTiles

constexpr memory::data_type data_type(float) { return memory::data_type::f32; }
constexpr memory::data_type data_type(std::uint16_t) { return memory::data_type::bf16; }

void convert(const float* x, std::int64_t n, float* out) {
  std::memcpy(out, x, static_cast<std::size_t>(n) * sizeof(float));
}
// Round to nearest even without a branch, so that it becomes vector code; NaN stays NaN.
void convert(const float* x, std::int64_t n, std::uint16_t* out) {
  for (std::int64_t k = 0; k < n; ++k) {
    const auto bits = std::bit_cast<std::uint32_t>(x[k]);
    const std::uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
    out[k] = static_cast<std::uint16_t>((x[k] == x[k] ? rounded : bits | 0x400000u) >> 16);
  }
}

// The product of the one shape, and how its weights want to lie. Made once, run by many threads.
template <class Word>
class Shape {
 public:
  Shape() {
    const memory::desc any({kColumns, kWeights}, data_type(Word{}), memory::format_tag::any);
    dnnl::post_ops add_to_output;
    add_to_output.append_sum(1.0f);
    dnnl::primitive_attr attr, reorder_attr;  // two objects: a copy would share its settings
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    attr.set_post_ops(add_to_output);
    reorder_attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const dnnl::matmul::primitive_desc product(engine_, x_, any, out_, attr);
    packed_ = product.weights_desc();
    const dnnl::reorder::primitive_desc reorder(engine_, plain_, engine_, packed_, reorder_attr);
    product_scratch_ = product.scratchpad_desc();
    reorder_scratch_ = reorder.scratchpad_desc();
    product_ = dnnl::matmul(product);
    reorder_ = dnnl::reorder(reorder);
    const std::size_t shared = std::max(product_scratch_.get_size(), reorder_scratch_.get_size());
    usable_ = packed_.get_size() <= kPackedBytes && shared <= kSharedBytes;
  }
  bool usable() const { return usable_; }

  // Offsets in the scratch.
  static constexpr std::size_t kPlainBytes = sizeof(Word) * kColumns * kWeights, kPackedBytes = kPlainBytes + 4096,
                               kActBytes = sizeof(Word) * kChunk * kColumns,
                               kOutBytes = sizeof(float) * kGroups * kChunk * kWeights, kSharedBytes = 64 << 10;
  static_assert(kPlainBytes + kPackedBytes + kActBytes + kOutBytes + kSharedBytes <= kFixedScratchBytes);

  void pack(dnnl::stream& stream, std::byte* plain, std::byte* packed, std::byte* shared) const {
    reorder_.execute(stream, {{DNNL_ARG_FROM, memory(plain_, engine_, plain)},
                              {DNNL_ARG_TO, memory(packed_, engine_, packed)},
                              {DNNL_ARG_SCRATCHPAD, memory(reorder_scratch_, engine_, shared)}});
  }
  void multiply_add(dnnl::stream& stream, Word* x, std::byte* packed, float* out, std::byte* shared) const {
    product_.execute(stream, {{DNNL_ARG_SRC, memory(x_, engine_, x)},
                              {DNNL_ARG_WEIGHTS, memory(packed_, engine_, packed)},
                              {DNNL_ARG_DST, memory(out_, engine_, out)},
                              {DNNL_ARG_SCRATCHPAD, memory(product_scratch_, engine_, shared)}});
  }
  const dnnl::engine& engine() const { return engine_; }

 private:
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  memory::desc x_{{kRows, kColumns}, data_type(Word{}), memory::format_tag::ab};
  memory::desc plain_{{kColumns, kWeights}, data_type(Word{}), memory::format_tag::ab};
  memory::desc out_{{kRows, kWeights}, memory::data_type::f32, memory::format_tag::ab};
  memory::desc packed_, product_scratch_, reorder_scratch_;
  dnnl::matmul product_;
  dnnl::reorder reorder_;
  bool usable_ = false;
};

template <class Word>
const Shape<Word>* shape() {
  static const Shape<Word>* made = []() -> const Shape<Word>* {
    try {
      static const Shape<Word> instance;
      return instance.usable() ? &instance : nullptr;
    } catch (const dnnl::error&) {
      return nullptr;
    }
  }();
  return made;
}

const float* act_row(const MatmulArgs& args, std::int64_t i) {
  const std::int64_t row = args.act_rows == nullptr ? i : args.act_rows[i];
  return reinterpret_cast<const float*>(args.acts + static_cast<std::size_t>(row) * args.act_stride);
}

// Columns [column, column + width) of up to kTiles tiles as one matrix [kColumns, kWeights], zeros where there is
// nothing.
template <class Word>
void gather(const std::byte* weights, std::size_t tile_bytes, int n_tiles, std::int64_t column, std::int64_t width,
            std::byte* plain) {
  constexpr std::size_t kBytes = kTileRows * sizeof(Word);
  if (n_tiles < kTiles || width < kColumns) std::memset(plain, 0, Shape<Word>::kPlainBytes);
  for (int t = 0; t < n_tiles; ++t) {
    const std::byte* from =
        weights + static_cast<std::size_t>(t) * tile_bytes + static_cast<std::size_t>(column) * kBytes;
    for (std::int64_t k = 0; k < width; ++k) {
      std::memcpy(plain + static_cast<std::size_t>(k * kTiles + t) * kBytes,
                  from + static_cast<std::size_t>(k) * kBytes, kBytes);
    }
  }
}

template <class Word>
void run(const Shape<Word>& shape, const MatmulArgs& args) {
  thread_local dnnl::stream stream(shape.engine());
  const std::size_t tile_bytes = args.layout->tile_bytes(args.n_in);
  std::byte* plain = args.scratch;
  std::byte* packed = plain + Shape<Word>::kPlainBytes;
  auto* x = reinterpret_cast<Word*>(packed + Shape<Word>::kPackedBytes);  // [kChunk, kColumns]
  auto* out = reinterpret_cast<float*>(reinterpret_cast<std::byte*>(x) +
                                       Shape<Word>::kActBytes);  // [kGroups, kChunk, kWeights]
  std::byte* shared = reinterpret_cast<std::byte*>(out) + Shape<Word>::kOutBytes;
  for (std::int64_t first = 0; first < args.n_acts; first += kChunk) {
    const std::int64_t count = std::min<std::int64_t>(args.n_acts - first, kChunk);
    const std::int64_t padded = (count + kRows - 1) / kRows * kRows;
    for (std::int64_t tile = args.tile_begin; tile < args.tile_end; tile += kGroups * kTiles) {
      const std::int64_t tiles = std::min<std::int64_t>(args.tile_end - tile, kGroups * kTiles);
      const std::int64_t groups = (tiles + kTiles - 1) / kTiles;
      std::memset(out, 0, static_cast<std::size_t>(groups) * kChunk * kWeights * sizeof(float));
      for (std::int64_t column = 0; column < args.n_in; column += kColumns) {
        const std::int64_t width = std::min<std::int64_t>(args.n_in - column, kColumns);
        if (width < kColumns || count < padded) {
          std::memset(x, 0, static_cast<std::size_t>(padded) * kColumns * sizeof(Word));
        }
        for (std::int64_t i = 0; i < count; ++i) convert(act_row(args, first + i) + column, width, x + i * kColumns);
        for (std::int64_t group = 0; group < groups; ++group) {
          const std::int64_t at = group * kTiles;
          gather<Word>(args.weights + static_cast<std::size_t>(tile + at) * tile_bytes, tile_bytes,
                       static_cast<int>(std::min<std::int64_t>(tiles - at, kTiles)), column, width, plain);
          shape.pack(stream, plain, packed, shared);
          for (std::int64_t block = 0; block < padded; block += kRows) {
            shape.multiply_add(stream, x + block * kColumns, packed, out + (group * kChunk + block) * kWeights, shared);
          }
        }
      }
      for (std::int64_t t = 0; t < tiles; ++t) {
        const std::int64_t row = (tile + t) * kTileRows, n_rows = std::min<std::int64_t>(args.n_out - row, kTileRows);
        for (std::int64_t i = 0; i < count; ++i) {
          float* to = args.out + (first + i) * args.out_stride + row;
          const float* from = out + (t / kTiles * kChunk + i) * kWeights + t % kTiles * kTileRows;
          for (std::int64_t r = 0; r < n_rows; ++r) to[r] = args.accumulate ? to[r] + from[r] : from[r];
        }
      }
    }
  }
}

}  // namespace

void gemm_f32(const MatmulArgs& args) noexcept {
  if (const Shape<float>* made = shape<float>()) {
    run(*made, args);
  } else {
    avx2::gemm_f32(args);
  }
}

void gemm_bf16(const MatmulArgs& args) noexcept {
  if (const Shape<std::uint16_t>* made = shape<std::uint16_t>()) {
    run(*made, args);
  } else {
    avx512::gemm_bf16(args);
  }
}

}  // namespace dodeca::cpu::onednn

#endif
