#include "runtime/cli/layer_dump.hpp"

#include <fmt/core.h>

#include <cmath>
#include <fstream>
#include <memory>

#include "runtime/base/file_error.hpp"
#include "runtime/base/hash.hpp"

namespace dodeca::runtime::cli {
namespace {

using exec::Pass;

constexpr std::int64_t kShown = 6;  // first values of the last row

std::string line_of(const BlockPlan& block, const Pass& pass, std::int64_t n_pass) {
  const exec::Activations& rows = pass.buffer(exec::RowBuffer::kResidual);
  const std::int64_t n = pass.config.hidden_size;
  std::uint64_t bits = 0;
  double squares = 0.0;
  std::int64_t row = 0, column = 0;
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    const float* x = rows.row(i);
    bits = bits * 31 + fnv1a({reinterpret_cast<const char*>(x), static_cast<std::size_t>(n) * sizeof(float)});
    for (std::int64_t j = 0; j < n; ++j) {
      squares += static_cast<double>(x[j]) * x[j];
      if (std::abs(x[j]) > std::abs(rows.row(row)[column])) row = i, column = j;
    }
  }
  std::string line =
      fmt::format("pass {}, {}: {} rows, bits {:016x}, rms {:.6g}, largest {:.6g} at row {} column {}, last row",
                  n_pass, block.name(), pass.n(), bits, std::sqrt(squares / static_cast<double>(pass.n() * n)),
                  rows.row(row)[column], row, column);
  for (std::int64_t j = 0; j < std::min(n, kShown); ++j) line += fmt::format(" {:.6g}", rows.row(pass.n() - 1)[j]);
  return line + "\n";
}

}  // namespace

exec::BlockObserver dump_layers(const std::string& path, const Log& log) {
  const auto out = std::make_shared<std::ofstream>(path, std::ios::trunc);
  if (!*out) throw Error(ErrorKind::kIo, fmt::format("cannot write {}", path));
  return [out, path, log = Log(log), n_pass = std::int64_t{-1}](const BlockPlan& block, const Pass& pass) mutable {
    if (block.kind == BlockKind::kEmbedding) ++n_pass;
    if (!*out || *out << line_of(block, pass, n_pass) << std::flush || !log) return;
    log(Level::kWarning, fmt::format("{} cannot be written on: the dump of layers ends here", path));
    log = nullptr;
  };
}

}  // namespace dodeca::runtime::cli
