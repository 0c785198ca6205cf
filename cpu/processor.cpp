#include "cpu/processor.hpp"

#include <cpuid.h>

namespace dodeca::cpu {

// Intel's Software Developer's Manual, volume 2, CPUID: leaf 0 and table 3-8 of leaf 1; AMD's is the same.
Processor this_processor() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  __get_cpuid(0, &eax, &ebx, &ecx, &edx);
  Processor is;
  for (const unsigned word : {ebx, edx, ecx})
    for (int byte = 0; byte < 4; ++byte) is.vendor += static_cast<char>(word >> 8 * byte & 0xff);
  __get_cpuid(1, &eax, &ebx, &ecx, &edx);
  is.family = eax >> 8 & 0xf;
  is.model = eax >> 4 & 0xf;
  if (is.family == 6 || is.family == 15) is.model |= (eax >> 16 & 0xf) << 4;
  if (is.family == 15) is.family += eax >> 20 & 0xff;
  return is;
}

std::string processor_id() {
  const Processor is = this_processor();
  return is.vendor + ' ' + std::to_string(is.family) + '/' + std::to_string(is.model);
}

}  // namespace dodeca::cpu
