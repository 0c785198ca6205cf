#include "runtime/plan/numa.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "runtime/base/error.hpp"

namespace dodeca::runtime {
namespace {

int parse_number(std::string_view text, std::string_view whole) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value >= 0) return value;
  throw Error(ErrorKind::kBadRequest, fmt::format("'{}' in '{}' is no number", text, whole));
}

std::vector<int> indices_of(const std::vector<cpu::Node>& nodes) {
  std::vector<int> indices;
  for (const cpu::Node& node : nodes) indices.push_back(node.os_index);
  return indices;
}

std::string count_text(std::size_t n, const char* what) { return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s"); }

std::string nodes_text(const std::vector<int>& nodes) {
  return fmt::format("{} ({})", count_text(nodes.size(), "node"), fmt::join(nodes, ", "));
}

// The machine with some of its nodes alone, in their order.
cpu::Topology with_nodes(const cpu::Topology& topology, const std::vector<int>& wanted) {
  cpu::Topology result = topology;
  result.nodes.clear();
  result.cores.clear();
  result.distances.clear();
  std::vector<std::size_t> kept;
  for (std::size_t n = 0; n < topology.nodes.size(); ++n) {
    if (std::ranges::find(wanted, topology.nodes[n].os_index) == wanted.end()) continue;
    for (const cpu::Core& core : topology.cores) {
      if (core.node != static_cast<int>(n)) continue;
      result.cores.push_back(core);
      result.cores.back().node = static_cast<int>(result.nodes.size());
    }
    result.nodes.push_back(topology.nodes[n]);
    kept.push_back(n);
  }
  for (const std::size_t a : kept) {
    auto& row = result.distances.emplace_back();
    for (const std::size_t b : kept)
      row.push_back(topology.distances.empty() ? (a == b ? 10 : 20) : topology.distances[a][b]);
  }
  return result;
}

void check_nodes(const cpu::Topology& topology, const std::vector<int>& wanted) {
  const std::vector<int> usable = indices_of(topology.nodes), only_memory = indices_of(topology.memory_only);
  for (const int node : wanted) {
    if (std::ranges::find(usable, node) != usable.end()) continue;
    const bool memory = std::ranges::find(only_memory, node) != only_memory.end();
    throw Error(ErrorKind::kBadRequest, fmt::format("node {} {}; nodes with both are {}", node,
                                                    memory ? "has memory and no processor that this process may use"
                                                           : "is not there, or this process may not use its memory",
                                                    fmt::join(usable, ", ")));
  }
}

// Parts are equal, so all wait for the node with the fewest cores.
std::string warning_of_uneven_cores(const cpu::Topology& topology) {
  constexpr double kUneven = 1.5;
  std::vector<std::int64_t> cores;
  for (std::size_t n = 0; n < topology.nodes.size(); ++n)
    cores.push_back(std::ranges::count(topology.cores, static_cast<int>(n), &cpu::Core::node));
  const auto least = std::ranges::min_element(cores), most = std::ranges::max_element(cores);
  if (static_cast<double>(*most) <= kUneven * static_cast<double>(*least)) return {};
  const auto node = [&](auto at) { return topology.nodes[static_cast<std::size_t>(at - cores.begin())].os_index; };
  return fmt::format(
      "node {} has {} usable core{} and node {} has {}, and each works on an equal part of the model: "
      "node {} alone may be faster",
      node(least), *least, *least == 1 ? "" : "s", node(most), *most, node(most));
}

// A part on each of the topology's nodes.
void cut_over_nodes(NumaChoice& choice) {
  const std::vector<int> nodes = indices_of(choice.topology.nodes);
  if (const std::string warning = warning_of_uneven_cores(choice.topology); !warning.empty())
    choice.warnings.push_back(warning);
  choice.shares = equal_shares(static_cast<int>(nodes.size()));
  for (const int node : nodes) choice.placement.part_nodes.push_back({node});
  choice.placement.reason = nodes_text(nodes) + (nodes.size() == 1 ? ": all of it there" : ": a part on each");
}

void interleave(NumaChoice& choice, std::vector<int> nodes) {
  choice.placement.reason = nodes_text(nodes) + ": memory interleaved";
  choice.placement.part_nodes = {std::move(nodes)};
}

}  // namespace

std::vector<int> Placement::all_nodes() const {
  std::set<int> nodes;
  for (const auto& own : part_nodes) nodes.insert(own.begin(), own.end());
  return {nodes.begin(), nodes.end()};
}

std::vector<int> Placement::node_of_each() const {
  std::vector<int> nodes;
  for (const auto& own : part_nodes) {
    if (own.size() != 1) return {};
    nodes.push_back(own.front());
  }
  return nodes;
}

NumaRequest parse_numa(std::string_view text) {
  using Mode = NumaRequest::Mode;
  if (text.empty() || text == "auto") return {};
  if (text == "off") return {.mode = Mode::kOff};
  if (text == "interleave") return {.mode = Mode::kInterleave};
  if (text.starts_with("nodes=")) {
    NumaRequest request{.mode = Mode::kNodes};
    std::string_view rest = text.substr(6);
    for (bool more = true; more;) {
      const std::size_t comma = rest.find(',');
      const int node = parse_number(rest.substr(0, comma), text);
      if (std::ranges::find(request.nodes, node) != request.nodes.end())
        throw Error(ErrorKind::kBadRequest, fmt::format("node {} is named twice in '{}'", node, text));
      request.nodes.push_back(node);
      more = comma != std::string_view::npos;
      if (more) rest.remove_prefix(comma + 1);
    }
    std::ranges::sort(request.nodes);
    return request;
  }
  if (text.starts_with("parts=")) {
    const int parts = parse_number(text.substr(6), text);
    if (parts < 1 || parts > kMostParts)
      throw Error(ErrorKind::kBadRequest, fmt::format("a model is cut into 1 to {} parts, not {}", kMostParts, parts));
    return {.mode = Mode::kParts, .parts = parts};
  }
  throw Error(ErrorKind::kBadRequest,
              fmt::format("'{}' is not auto, off, interleave, nodes=LIST (nodes=0,2) or parts=N", text));
}

NumaChoice choose_numa(const cpu::Topology& topology, const NumaRequest& request, bool whole) {
  using Mode = NumaRequest::Mode;
  NumaChoice choice{.topology = topology};
  const std::vector<int> nodes = indices_of(topology.nodes), only_memory = indices_of(topology.memory_only);
  const bool cuts = request.mode == Mode::kAuto || request.mode == Mode::kNodes;
  // One usable node beside others is bound to, or what does not fit there would spill into memory that is far.
  const bool has_other_nodes = nodes.size() > 1 || !only_memory.empty();
  if (request.mode == Mode::kNodes) {
    check_nodes(topology, request.nodes);
    choice.topology = with_nodes(topology, request.nodes);
  } else if (!only_memory.empty() && request.mode == Mode::kAuto) {
    choice.warnings.push_back(fmt::format("{} without a processor that this process may use: {} memory is not used",
                                          nodes_text(only_memory), only_memory.size() == 1 ? "its" : "their"));
  }
  if (cuts && whole && choice.topology.nodes.size() > 1) {
    interleave(choice, indices_of(choice.topology.nodes));
    choice.placement.reason += ", since this cannot run in parts";
  } else if (request.mode == Mode::kNodes || (request.mode == Mode::kAuto && has_other_nodes)) {
    cut_over_nodes(choice);
  } else if (request.mode == Mode::kInterleave) {
    std::vector<int> all = nodes;
    all.insert(all.end(), only_memory.begin(), only_memory.end());
    std::ranges::sort(all);
    interleave(choice, std::move(all));
  } else if (request.mode == Mode::kParts && whole) {
    choice.placement.reason = "one part, since this cannot run in parts";
    choice.warnings.push_back(fmt::format("{} were asked for, and this cannot run in parts",
                                          count_text(static_cast<std::size_t>(request.parts), "part")));
  } else if (request.mode == Mode::kParts) {
    choice.shares = equal_shares(request.parts);
    choice.placement.reason = count_text(static_cast<std::size_t>(request.parts), "part") + " on one memory";
  } else {
    choice.placement.reason = nodes.size() == 1 ? "one node" : "memory where it is first touched";
  }
  return choice;
}

}  // namespace dodeca::runtime
