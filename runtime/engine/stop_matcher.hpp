// Holds back text that may become a stop text, across token boundaries: what it releases never contains a stop text nor
// the beginning of one that may still complete.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dodeca::runtime::engine {

class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops);  // empty texts are ignored
  // The text that is safe to show now. After a stop text was seen: what came before it, and stopped() is true.
  std::string push(std::string_view bytes);
  // The end came otherwise: what was held back.
  std::string flush();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace dodeca::runtime::engine
