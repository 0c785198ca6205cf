// Which kernel tuning a run takes: of DODECA_TUNING, of the user's own file, or of what is shipped for the processor.
#pragma once

#include <filesystem>
#include <string>

#include "cpu/kernels/matmul/tuning.hpp"
#include "runtime/base/log.hpp"
#include "runtime/cli/console.hpp"

namespace dodeca::runtime::cli {

struct TuningSearch {
  std::string variable;             // "none": no tuning at all; a file; empty: what follows
  std::filesystem::path user_file;  // read where it exists; empty: there is no place for one
  std::string processor;
  cpu::Isa isa = cpu::Isa::kScalar;
  std::filesystem::path file() const;  // that would be read; empty: none
};
// Of this machine, user and environment: user_file is $XDG_CONFIG_HOME/dodeca/tuning.json, by default in ~/.config.
TuningSearch tuning_search(cpu::Isa isa);
// Says what it took (kDetail) or left out because it is for something else (kInfo). Throws Error for a broken file, and
// for one that the variable names and that is not there.
cpu::MatmulTuning find_tuning(const TuningSearch& search, const Log& log);

inline cpu::MatmulTuning host_tuning(cpu::Isa isa, const Console& console) {
  return find_tuning(tuning_search(isa), console.log());
}

}  // namespace dodeca::runtime::cli
