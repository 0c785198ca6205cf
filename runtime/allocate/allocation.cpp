#include "runtime/allocate/allocation.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <queue>
#include <tuple>
#include <utility>

#include "runtime/base/error.hpp"

namespace dodeca::runtime::allocate {
namespace {

constexpr int kSpeedRounds = 8;  // of the linearized product of divergence and bytes per token
constexpr int kExchangeRounds = 64;

// One tensor's options as costs; `hull`: indices of the lower convex hull of cost over bytes, bytes rising.
struct Choice {
  std::vector<double> cost;
  std::vector<std::size_t> hull;
};

Choice choice_of(const TensorOptions& tensor, double token_byte_cost) {
  Choice choice;
  std::vector<std::size_t> order(tensor.options.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = i;
    choice.cost.push_back(tensor.options[i].divergence + token_byte_cost * tensor.options[i].token_bytes);
  }
  const auto bytes = [&](std::size_t i) { return static_cast<double>(tensor.options[i].bytes); };
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    return std::pair(bytes(a), choice.cost[a]) < std::pair(bytes(b), choice.cost[b]);
  });
  const auto slope = [&](std::size_t a, std::size_t b) {
    return (choice.cost[b] - choice.cost[a]) / (bytes(b) - bytes(a));
  };
  for (const std::size_t i : order) {
    if (!choice.hull.empty() && choice.cost[i] >= choice.cost[choice.hull.back()]) continue;  // larger and no better
    if (!choice.hull.empty() && bytes(i) == bytes(choice.hull.back())) continue;
    while (choice.hull.size() >= 2 && slope(choice.hull.end()[-2], choice.hull.back()) >= slope(choice.hull.back(), i))
      choice.hull.pop_back();
    choice.hull.push_back(i);
  }
  return choice;
}

class Solver {
 public:
  Solver(std::span<const TensorOptions> tensors, std::uint64_t max_bytes, double token_byte_cost)
      : tensors_(tensors), max_bytes_(max_bytes) {
    for (const TensorOptions& tensor : tensors) choices_.push_back(choice_of(tensor, token_byte_cost));
  }

  Allocation solve() {
    start();
    climb();
    exchange();
    for (std::size_t t = 0; t < tensors_.size(); ++t) {
      const TypeOption& option = tensors_[t].options[result_.chosen[t]];
      result_.divergence += option.divergence;
      result_.token_bytes += option.token_bytes;
    }
    return std::move(result_);
  }

 private:
  std::uint64_t bytes(std::size_t t, std::size_t option) const { return tensors_[t].options[option].bytes; }

  void start() {
    for (std::size_t t = 0; t < tensors_.size(); ++t) {
      result_.chosen.push_back(choices_[t].hull.front());
      result_.bytes += bytes(t, result_.chosen[t]);
      result_.bound += choices_[t].cost[result_.chosen[t]];
    }
    if (result_.bytes > max_bytes_)
      throw Error(ErrorKind::kDoesNotFit,
                  fmt::format("the smallest types need {} bytes and {} are allowed", result_.bytes, max_bytes_));
  }

  // Steps along the hulls, the best cost per byte first. The first that does not fit, taken in part, is the bound.
  void climb() {
    struct Step {
      double gain;  // per byte
      std::size_t tensor, to;
      bool operator<(const Step& other) const { return std::pair(gain, other.tensor) < std::pair(other.gain, tensor); }
    };
    std::priority_queue<Step> steps;
    const auto offer = [&](std::size_t t, std::size_t to) {
      const Choice& choice = choices_[t];
      if (to == choice.hull.size()) return;
      const std::size_t a = choice.hull[to - 1], b = choice.hull[to];
      steps.push({(choice.cost[a] - choice.cost[b]) / static_cast<double>(bytes(t, b) - bytes(t, a)), t, to});
    };
    for (std::size_t t = 0; t < tensors_.size(); ++t) offer(t, 1);
    bool bounded = false;
    while (!steps.empty()) {
      const Step step = steps.top();
      steps.pop();
      const std::size_t from = result_.chosen[step.tensor], to = choices_[step.tensor].hull[step.to];
      const std::uint64_t more = bytes(step.tensor, to) - bytes(step.tensor, from);
      const double better = choices_[step.tensor].cost[from] - choices_[step.tensor].cost[to];
      const std::uint64_t room = max_bytes_ - result_.bytes;
      if (more > room) {
        if (!bounded) result_.bound -= better * static_cast<double>(room) / static_cast<double>(more);
        bounded = true;
        continue;  // smaller steps of other tensors may still fit
      }
      result_.chosen[step.tensor] = to;
      result_.bytes += more;
      if (!bounded) result_.bound -= better;
      offer(step.tensor, step.to + 1);
    }
  }

  // Of one tensor.
  struct Change {
    std::size_t tensor = 0, option = 0;
    std::int64_t more = 0;  // bytes
    double better = 0;
  };

  // Of every tensor to every other option, those that need the fewest bytes first.
  std::vector<Change> changes() const {
    std::vector<Change> all;
    for (std::size_t t = 0; t < tensors_.size(); ++t) {
      const std::size_t now = result_.chosen[t];
      for (std::size_t o = 0; o < tensors_[t].options.size(); ++o) {
        if (o == now) continue;
        all.push_back({t, o, static_cast<std::int64_t>(bytes(t, o)) - static_cast<std::int64_t>(bytes(t, now)),
                       choices_[t].cost[now] - choices_[t].cost[o]});
      }
    }
    std::ranges::sort(all, [](const Change& a, const Change& b) {
      return std::tuple(a.more, -a.better, a.tensor) < std::tuple(b.more, -b.better, b.tensor);
    });
    return all;
  }

  // The best of some changes, and the best of those of another tensor than its own; null where there is none.
  struct Leaders {
    const Change *best = nullptr, *other = nullptr;
    void add(const Change& change) {
      if (best == nullptr || change.better > best->better) {
        if (best != nullptr && best->tensor != change.tensor) other = best;
        best = &change;
      } else if (change.tensor != best->tensor && (other == nullptr || change.better > other->better)) {
        other = &change;
      }
    }
    const Change* partner_of(const Change& change) const {
      return best != nullptr && best->tensor == change.tensor ? other : best;
    }
  };

  // The best change of one tensor, or of two at once, as long as there is one. The partners that a change leaves room
  // for are the first of all, fewer of them the more bytes it needs itself.
  void exchange() {
    for (int round = 0; round < kExchangeRounds; ++round) {
      const std::vector<Change> all = changes();
      std::vector<Leaders> leaders(all.size() + 1);  // [n]: of the first n
      for (std::size_t i = 0; i < all.size(); ++i) (leaders[i + 1] = leaders[i]).add(all[i]);
      const auto room = static_cast<std::int64_t>(max_bytes_ - result_.bytes);
      const Change *first = nullptr, *second = nullptr;
      double best = 1e-12;
      std::size_t n_partners = all.size();
      for (const Change& change : all) {
        while (n_partners > 0 && change.more + all[n_partners - 1].more > room) --n_partners;
        const Change* partner = leaders[n_partners].partner_of(change);
        if (change.more <= room && change.better > best) first = &change, second = nullptr, best = change.better;
        if (partner != nullptr && change.better + partner->better > best)
          first = &change, second = partner, best = change.better + partner->better;
      }
      if (first == nullptr) return;
      for (const Change* change : {first, second}) {
        if (change == nullptr) continue;
        result_.chosen[change->tensor] = change->option;
        result_.bytes = static_cast<std::uint64_t>(static_cast<std::int64_t>(result_.bytes) + change->more);
      }
    }
  }

  std::span<const TensorOptions> tensors_;
  std::uint64_t max_bytes_;
  std::vector<Choice> choices_;
  Allocation result_;
};

}  // namespace

Allocation best_allocation(std::span<const TensorOptions> tensors, std::uint64_t max_bytes, double speed_weight) {
  Allocation best = Solver(tensors, max_bytes, 0).solve();
  if (speed_weight <= 0) return best;
  // divergence * token_bytes^w is least where divergence + (w * D / B) * token_bytes is, D and B being its own.
  for (int round = 0; round < kSpeedRounds && best.token_bytes > 0; ++round)
    best = Solver(tensors, max_bytes, speed_weight * best.divergence / best.token_bytes).solve();
  best.bound = 0;
  return best;
}

}  // namespace dodeca::runtime::allocate
