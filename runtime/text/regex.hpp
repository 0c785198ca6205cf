// A regular expression (PCRE2's Perl syntax, over bytes) that people or files give, searched in names. Matching is
// limited: a pattern that would take very long ends with an error. Immutable, thread-safe, cheap to copy.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace dodeca::runtime {

class Regex {
 public:
  // Error{kBadRequest} with the pattern and what is wrong with it.
  explicit Regex(std::string_view pattern);

  const std::string& pattern() const;  // as given
  // Error{kBadRequest} naming the pattern when it needs too many steps, or all searches together too long.
  bool found_in(std::string_view text) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace dodeca::runtime
