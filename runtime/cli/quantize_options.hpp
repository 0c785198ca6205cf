// The command line of dodeca quantize.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "runtime/base/file_roles.hpp"
#include "runtime/cli/allocation_options.hpp"
#include "runtime/cli/console.hpp"
#include "runtime/quantize/quantize.hpp"

namespace dodeca::runtime::cli {

struct QuantizeArguments {
  std::string in, out, shape;
  std::int32_t threads = 0;
  bool dry_run = false, verify = false;
  std::string imatrix;
  AllocationOptions allocation;
  quantize::QuantizeOptions quantize;
  quantize::WriteOptions write;
  FileRoles files;
};

// Throws Usage; reads the file of --recipe.
QuantizeArguments parse_quantize(std::span<const std::string> args, Console& console);
// FileRoles::check() with Usage in place of Error.
void check_files(const FileRoles& files);

}  // namespace dodeca::runtime::cli
