#include "bench/cmd_shares.hpp"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "bench/shapes.hpp"
#include "bench/test_matrix.hpp"
#include "runtime/cli/console.hpp"
#include "runtime/cli/options.hpp"
#include "runtime/predict/shares.hpp"

namespace dodeca::bench {
namespace {

using runtime::predict::PhaseShares;
using runtime::predict::ShareRequest;

// A line per phase, a column per team size.
std::string table(const std::vector<PhaseShares>& all, const std::vector<int>& n_threads) {
  std::string text = "| phase           |       MB |";
  for (const int n : n_threads) text += fmt::format(" {:>9} |", n);
  text += "\n| --------------- | -------: |";
  for (std::size_t i = 0; i < n_threads.size(); ++i) text += " --------: |";
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i % n_threads.size() == 0) text += fmt::format("\n| {:<15} | {:>8.2f} |", all[i].phase, all[i].bytes / 1e6);
    text += fmt::format(" {:.2f} {:.2f} |", all[i].worst_member, all[i].worst_l3);
  }
  return text + "\n";
}

nlohmann::ordered_json rows_of(const std::string& shape, const std::vector<PhaseShares>& all) {
  auto rows = nlohmann::ordered_json::array();
  for (const PhaseShares& s : all)
    rows.push_back({{"shape", shape},
                    {"phase", s.phase},
                    {"block", s.block},
                    {"threads", s.n_threads},
                    {"bytes", s.bytes},
                    {"most_over_mean", s.worst_member},
                    {"most_over_mean_l3", s.worst_l3}});
  return rows;
}

}  // namespace

int cmd_shares(std::span<const std::string> args) {
  runtime::cli::Options options(
      "dodeca-bench shares",
      "Counts how evenly the bytes of one generated token are dealt over the members of a team, phase by phase, by the "
      "executor's own dealing; nothing is loaded. Each figure is the most of a member over the mean, then the same for "
      "the members that share an L3; of all layers the one that is dealt worst.",
      "dodeca-bench shares --shape deepseek-v3\n"
      "  dodeca-bench shares --shape kimi-k2 --threads 60,96,124 --position 4095 -o json");
  runtime::cli::Console console;
  std::vector<std::string> shapes, thread_texts;
  std::string recipe = "UD-Q2_K_XL", output = "md";
  ShareRequest request;
  std::int64_t l3 = request.l3_members;
  options.values("--shape", shapes, "published shapes (default: deepseek-v3)", "NAME");
  options.values("-t,--threads", thread_texts, "team sizes, lists and ranges (default: 16,24,32,48,60,64,96,128,192)",
                 "N");
  options.value("--l3", l3, "members that share an L3 (default: 8)", {1, 4096});
  options.value("--position", request.position, "of the token in its context (default: 511)", {0, 1 << 24});
  options.value("--recipe", recipe, "types of the weights (default: UD-Q2_K_XL)", "NAME");
  options.choice("-o,--output", output, {"md", "json"}, "format (default: md)");
  console.add_flags(options);
  options.parse(args);

  if (shapes.empty()) shapes = {"deepseek-v3"};
  if (thread_texts.empty()) thread_texts = {"16,24,32,48,60,64,96,128,192"};
  for (const std::int64_t n : parse_ranges(options.spelling("-t"), thread_texts, 1, 4096))
    request.n_threads.push_back(static_cast<int>(n));
  request.l3_members = static_cast<int>(l3);
  auto rows = nlohmann::ordered_json::array();
  for (const std::string& shape : shapes) {
    const runtime::ModelConfig config = shape_config(shape);
    const auto types = types_of(parse_recipe("--recipe", recipe), config, config);
    const runtime::Plan plan =
        runtime::make_plan(config, runtime::random_weight_infos(config, types), {}, runtime::this_machine(), {});
    const std::vector<PhaseShares> all = runtime::predict::count_shares(plan, request);
    if (output == "md")
      runtime::cli::print_out(
          fmt::format("{}, {}, position {}: most/mean of members and of L3s of {}, by team size\n\n{}\n", config.name,
                      recipe, request.position, request.l3_members, table(all, request.n_threads)));
    for (auto& row : rows_of(shape, all)) rows.push_back(std::move(row));
  }
  if (output == "json") runtime::cli::print_out(rows.dump(2) + "\n");
  return 0;
}

}  // namespace dodeca::bench
