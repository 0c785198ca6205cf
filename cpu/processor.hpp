// Which processor this is: vendor, family and model as CPUID tells them, the numbers of /proc/cpuinfo. Cores of one
// design share them, whatever they are sold as.
#pragma once

#include <string>

namespace dodeca::cpu {

struct Processor {
  std::string vendor;  // "GenuineIntel", "AuthenticAMD"
  unsigned family = 0, model = 0;
};
Processor this_processor();

std::string processor_id();  // "GenuineIntel 6/207", "AuthenticAMD 25/17"

}  // namespace dodeca::cpu
