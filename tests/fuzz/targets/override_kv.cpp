// KEY=TYPE:VALUE and REGEX=TYPE of the command line, one a line.
#include "runtime/load/gguf.hpp"
#include "runtime/quantize/type_override.hpp"
#include "tests/fuzz/target.hpp"

namespace dodeca::tests {

void fuzz_override_kv(std::string_view bytes) {
  const auto lines = split_files(bytes, 2);
  runtime::Metadata metadata;
  metadata.set("a", std::uint32_t{1});
  runtime::override_kv(metadata, lines[0]);
  for (const auto& [key, value] : metadata.entries()) require(metadata.find(key) == &value, "metadata entry");
  if (lines.size() > 1) runtime::quantize::parse_override(lines[1]).regex.found_in("blk.3.ffn_down_exps.weight");
}

std::vector<std::string> fuzz_override_kv_seeds() {
  return {join_files({"a=int:5", "ffn_.*_exps=Q2_K"}), join_files({"b.c=float:-1e-3", "(a|b)+\\.weight$=q8_0"}),
          "d=bool:true", "e=str:text"};
}

}  // namespace dodeca::tests
