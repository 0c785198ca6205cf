#include "quant/encode/ternary_boxes.hpp"

#include "quant/iq_grids.hpp"

namespace dodeca::quant {
namespace {

TernaryBoxes make_boxes() {
  TernaryBoxes boxes{};
  for (unsigned set = 0; set < 256; ++set) {
    unsigned power = 1, sum = 0;
    for (unsigned j = 0; j < 8; ++j, power *= 3) sum += ((set >> j) & 1) * power;
    boxes.powers[set] = static_cast<std::uint16_t>(sum);
  }
  for (unsigned number = 0; number < 2048; ++number) {
    const std::int8_t* point = kIq1sGrid[number];
    unsigned set = 0, negative = 0;
    for (unsigned j = 0; j < 8; ++j) {
      if (point[j] != 0) set |= 1u << j;
      if (point[j] < 0) negative |= 1u << j;
    }
    boxes.index[boxes.powers[255] + boxes.powers[set & ~negative] - boxes.powers[negative]] =
        static_cast<std::uint16_t>(number);
    for (unsigned box = 0; box < 256; ++box) {
      if ((box & set) != negative) continue;
      boxes.members[box][set >> 4] = static_cast<std::uint16_t>(boxes.members[box][set >> 4] | 1u << (set & 15));
    }
  }
  return boxes;
}

}  // namespace

const TernaryBoxes kTernaryBoxes = make_boxes();

}  // namespace dodeca::quant
