// Streams of the emulation: queues of work that nothing has done yet. Work is done as late as a real device may do it:
// when the host waits, and only what it waits for. A copy that a program forgot to wait for has then not happened.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "gpu/device.hpp"

namespace dodeca::gpu::emulation {

struct Queue;

// One recording of an event: done when everything before it in its queue is.
struct Mark {
  Queue* queue = nullptr;
  bool done = false;
};

struct Item {
  enum Kind { kWork, kMark, kWaitMark, kSignal, kWaitFlag };
  Kind kind = kWork;
  std::function<void()> work;
  std::shared_ptr<Mark> mark;
  Flag* flag = nullptr;
  std::uint32_t value = 0;
};

struct Queue {
  std::deque<Item> items;
  bool closed = false;  // its stream is gone; it goes when it is empty
};

// What was captured: items with the branch that each is for; branch 0 is the stream of the capture.
struct CapturedGraph {
  struct Step {
    int branch = 0;
    Item item;
  };
  std::vector<Step> steps;
  int branches = 1;

  bool records(const Mark& mark) const;
  // Whether branch 0 waits, in the end, for everything of the others.
  bool joined() const;
  // Adds the steps to a queue for each branch, with marks of their own.
  void unroll(const std::vector<Queue*>& queues) const;
};

// Does the first item of the queue, unless that waits for something that is not there; what a mark waits for is done
// first. False: the queue is empty, or waits for a flag.
bool advance(Queue& queue);
// Until the mark is done; false when a flag is in the way.
bool advance_until(const Mark& mark);

}  // namespace dodeca::gpu::emulation
