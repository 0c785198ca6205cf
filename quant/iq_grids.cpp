#include "quant/iq_grids.hpp"

namespace dodeca::quant {
namespace {

#include "quant/iq_grid_bitmaps.inc"

constexpr unsigned base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return static_cast<unsigned>(c - 'A');
  if (c >= 'a' && c <= 'z') return static_cast<unsigned>(c - 'a') + 26;
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0') + 52;
  return c == '+' ? 62 : 63;
}

// Bit k of the decoded text, least significant bit of each byte first.
constexpr bool bitmap_bit(const char* base64, unsigned k) {
  const unsigned from_top = (k / 8) * 8 + 7 - k % 8;  // position in a stream that runs from the most significant bit
  return (base64_digit(base64[from_top / 6]) >> (5 - from_top % 6)) & 1;
}

// Code k of the bitmap is the point whose element i is values[digit i of k]; members are indexed in ascending k.
// A bitmap with any other number of members does not compile.
template <int kPoints, int kElements, unsigned kBase>
consteval Grid<kPoints, kElements> expand(const char* base64, const std::int8_t (&values)[kBase]) {
  Grid<kPoints, kElements> grid{};
  unsigned codes = 1;
  for (int i = 0; i < kElements; ++i) codes *= kBase;
  int rank = 0;
  for (unsigned k = 0; k < codes; ++k) {
    if (!bitmap_bit(base64, k)) continue;
    unsigned rest = k;
    for (int i = 0; i < kElements; ++i, rest /= kBase) grid.points[rank][i] = values[rest % kBase];
    ++rank;
  }
  if (rank != kPoints) throw "number of points";
  return grid;
}

constexpr std::int8_t kIq2Values[] = {8, 25, 43};
constexpr std::int8_t kIq1Values[] = {-1, 0, 1};
constexpr std::int8_t kIq3xxsValues[] = {4, 12, 20, 28, 36, 44, 52, 62};
constexpr std::int8_t kIq3sValues[] = {1, 3, 5, 7, 9, 11, 13, 15};

}  // namespace

constexpr Grid<256, 8> kIq2xxsGrid = expand<256, 8>(kIq2xxsBitmap, kIq2Values);
constexpr Grid<512, 8> kIq2xsGrid = expand<512, 8>(kIq2xsBitmap, kIq2Values);
constexpr Grid<1024, 8> kIq2sGrid = expand<1024, 8>(kIq2sBitmap, kIq2Values);
constexpr Grid<2048, 8> kIq1sGrid = expand<2048, 8>(kIq1sBitmap, kIq1Values);
constexpr Grid<256, 4> kIq3xxsGrid = expand<256, 4>(kIq3xxsBitmap, kIq3xxsValues);
constexpr Grid<512, 4> kIq3sGrid = expand<512, 4>(kIq3sBitmap, kIq3sValues);

}  // namespace dodeca::quant
