#include <fmt/core.h>

#include "cpu/isa.hpp"
#include "gpu/device.hpp"
#include "runtime/cli/command.hpp"

namespace dodeca::runtime::cli {

std::string_view program_version() { return DODECA_VERSION; }
std::string_view program_commit() { return DODECA_COMMIT; }

std::string version_text(std::string_view program) {
  std::string isas;
  for (const cpu::Isa isa : cpu::built_isas()) {
    if (!isas.empty()) isas += ' ';
    isas += cpu::name_of(isa);
  }
#if defined(__clang__)
  const char* const compiler = "clang++ " __VERSION__;
#else
  const char* const compiler = "g++ " __VERSION__;
#endif
  std::string gpu_text = gpu::backend_name();
  if (const std::string why = gpu::why_no_devices(); !why.empty()) gpu_text += fmt::format(" ({})", why);
  for (const gpu::DeviceInfo& card : gpu::devices()) gpu_text += fmt::format(", {}", card.name);
  return fmt::format(
      "{} {}\n"
      "commit:     {}\n"
      "compiler:   {}, C++{}\n"
      "ISA levels: {} (this host: {})\n"
      "GPU:        {}\n"
      "libraries:  {}\n",
      program, program_version(), program_commit(), compiler, __cplusplus / 100 % 100, isas,
      cpu::name_of(cpu::detected_isa()), gpu_text, DODECA_LIBRARIES);
}

}  // namespace dodeca::runtime::cli
