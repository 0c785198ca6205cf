#include "gpu/emulation/tensor.hpp"

#include <cstring>
#include <string>
#include <type_traits>

#include "quant/float_types.hpp"

namespace dodeca::gpu::emulation {

namespace {

// The i-th value of a register.
template <MmaType type>
auto value(std::uint32_t bits, int i) {
  if constexpr (type == MmaType::kS8)
    return static_cast<int>(static_cast<std::int8_t>(bits >> (8 * i)));
  else if constexpr (type == MmaType::kBf16)
    return quant::bf16_to_f32(static_cast<std::uint16_t>(bits >> (16 * i)));
  else
    return quant::f16_to_f32(static_cast<std::uint16_t>(bits >> (16 * i)));
}

}  // namespace

template <MmaType type, class T>
void multiply_fragments(void* const operands[32]) {
  constexpr int kPerRegister = type == MmaType::kS8 ? 4 : 2, kDepth = 8 * kPerRegister;
  T a[16][kDepth], b[kDepth][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& operand = *static_cast<const MmaOperand<T>*>(operands[lane]);
    const int g = lane / 4, first = lane % 4 * kPerRegister;
    for (int i = 0; i < kPerRegister; ++i)
      for (int half = 0; half < 2; ++half) {
        const int k = first + i + half * kDepth / 2;
        a[g][k] = value<type>(operand.a[2 * half], i);
        a[g + 8][k] = value<type>(operand.a[2 * half + 1], i);
        b[k][g] = value<type>(operand.b[half], i);
      }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto& operand = *static_cast<const MmaOperand<T>*>(operands[lane]);
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      // Sums of integers wrap around.
      std::conditional_t<std::is_same_v<T, int>, unsigned, T> sum = operand.c[i];
      for (int k = 0; k < kDepth; ++k) sum += a[row][k] * b[k][column];
      operand.c[i] = static_cast<T>(sum);
    }
  }
}
template void multiply_fragments<MmaType::kBf16, float>(void* const operands[32]);
template void multiply_fragments<MmaType::kF16, float>(void* const operands[32]);
template void multiply_fragments<MmaType::kS8, int>(void* const operands[32]);

void LdmatrixOperand::complete(void* const operands[32], std::uint32_t) {
  const auto lane_operand = [&](int lane) -> auto& { return *static_cast<LdmatrixOperand*>(operands[lane]); };
  const int matrices = lane_operand(0).matrices;
  for (int matrix = 0; matrix < matrices; ++matrix) {
    std::uint16_t values[8][8];
    for (int row = 0; row < 8; ++row)
      current_block->read_shared(values[row], lane_operand(8 * matrix + row).row, 16, 8 * matrix + row);
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = lane % 4;
      const LdmatrixOperand& operand = lane_operand(lane);
      const std::uint32_t low = operand.transposed ? values[2 * t][g] : values[g][2 * t];
      const std::uint32_t high = operand.transposed ? values[2 * t + 1][g] : values[g][2 * t + 1];
      operand.result[matrix] = low | high << 16;
    }
  }
}

// ---- Block: what the operations above need of it --------------------------------------------------------------------

void Block::read_shared(void* to, const void* from, std::size_t bytes, int lane) {
  const auto* const begin = static_cast<const std::byte*>(from);
  const std::string who = "lane " + std::to_string(lane) + " of ldmatrix ";
  if (begin < shared_ || begin + bytes > shared_ + shared_used_) fail(who + "reads outside shared memory");
  if ((begin - shared_) % static_cast<std::ptrdiff_t>(bytes) != 0)
    fail(who + "reads " + std::to_string(bytes) + " bytes of shared memory that are not aligned");
  if (observer_ != nullptr) observer_->access(from, bytes, Access::kRead, running_->index.x / 32 * 32 + lane);
  std::memcpy(to, from, bytes);
}

void Block::copy_later(void* shared, const void* global, int bytes, bool valid) {
  const auto* const begin = static_cast<const std::byte*>(shared);
  if (begin < shared_ || begin + bytes > shared_ + shared_used_) fail("cp_async writes outside shared memory");
  if ((begin - shared_) % bytes != 0 || (valid && reinterpret_cast<std::uintptr_t>(global) % bytes != 0))
    fail("cp_async of " + std::to_string(bytes) + " bytes that are not aligned");
  running_->copies.push_back({shared, global, bytes, valid, running_->copy_group});
}

void Block::commit_copies() { ++running_->copy_group; }

void Block::wait_for_copies(int groups) {
  auto& copies = running_->copies;
  std::size_t done = 0;
  for (; done < copies.size() && copies[done].group < running_->copy_group - groups; ++done) {
    const LateCopy& copy = copies[done];
    if (observer_ != nullptr) {
      if (copy.valid) observer_->access(copy.from, copy.bytes, Access::kRead, running_->index.x);
      observer_->access(copy.to, copy.bytes, Access::kWrite, running_->index.x);
    }
    if (copy.valid)
      std::memcpy(copy.to, copy.from, copy.bytes);
    else
      std::memset(copy.to, 0, copy.bytes);
  }
  copies.erase(copies.begin(), copies.begin() + static_cast<std::ptrdiff_t>(done));
}

}  // namespace dodeca::gpu::emulation
