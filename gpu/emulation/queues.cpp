#include "gpu/emulation/queues.hpp"

#include <algorithm>
#include <unordered_map>

namespace dodeca::gpu::emulation {

bool advance_until(const Mark& mark) {
  while (!mark.done)
    if (!advance(*mark.queue)) return false;
  return true;
}

bool advance(Queue& queue) {
  if (queue.items.empty()) return false;
  Item& front = queue.items.front();
  if (front.kind == Item::kWaitFlag && !has_reached(read_flag(front.flag), front.value)) return false;
  if (front.kind == Item::kWaitMark && !advance_until(*front.mark)) return false;
  const Item item = std::move(front);
  queue.items.pop_front();
  if (item.kind == Item::kWork) item.work();
  if (item.kind == Item::kMark) item.mark->done = true;
  if (item.kind == Item::kSignal) write_flag(item.flag, item.value);
  return true;
}

bool CapturedGraph::records(const Mark& mark) const {
  return std::any_of(steps.begin(), steps.end(),
                     [&](const Step& step) { return step.item.kind == Item::kMark && step.item.mark.get() == &mark; });
}

bool CapturedGraph::joined() const {
  // From the end: what a joined branch waits for is joined from there on upwards.
  std::vector<bool> branch_joined(branches, false);
  branch_joined[0] = true;
  std::vector<const Mark*> waited;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    const Item& item = step->item;
    if (item.kind == Item::kMark && std::find(waited.begin(), waited.end(), item.mark.get()) != waited.end())
      branch_joined[step->branch] = true;
    if (!branch_joined[step->branch]) return false;
    if (item.kind == Item::kWaitMark) waited.push_back(item.mark.get());
  }
  return true;
}

void CapturedGraph::unroll(const std::vector<Queue*>& queues) const {
  std::unordered_map<const Mark*, std::shared_ptr<Mark>> marks;
  for (const Step& step : steps) {
    Item item = step.item;
    if (item.mark != nullptr) {
      std::shared_ptr<Mark>& mark = marks[item.mark.get()];
      if (mark == nullptr) mark = std::make_shared<Mark>(Mark{queues[step.branch], false});
      item.mark = mark;
    }
    queues[step.branch]->items.push_back(std::move(item));
  }
}

}  // namespace dodeca::gpu::emulation
