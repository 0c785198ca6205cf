#include "cpu/processor.hpp"

#include <cpuid.h>

namespace dodeca::cpu {

// Intel's Software Developer's Manual, volume 2, CPUID: leaf 0 and table 3-8 of leaf 1; AMD's is the same.
std::string processor_id() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  __get_cpuid(0, &eax, &ebx, &ecx, &edx);
  std::string text;
  for (const unsigned word : {ebx, edx, ecx})
    for (int byte = 0; byte < 4; ++byte) text += static_cast<char>(word >> 8 * byte & 0xff);
  __get_cpuid(1, &eax, &ebx, &ecx, &edx);
  unsigned family = eax >> 8 & 0xf, model = eax >> 4 & 0xf;
  if (family == 6 || family == 15) model |= (eax >> 16 & 0xf) << 4;
  if (family == 15) family += eax >> 20 & 0xff;
  return text + ' ' + std::to_string(family) + '/' + std::to_string(model);
}

}  // namespace dodeca::cpu
