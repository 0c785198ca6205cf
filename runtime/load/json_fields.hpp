// The fields of small JSON files of our own (recipes, sensitivities, tuning), each read with one error for everything
// that is not as it should be: Error{kBadFile}, "FILE VERDICT: what is wrong".
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "runtime/load/json.hpp"

namespace dodeca::runtime {

class JsonFields {
 public:
  // Both views must outlive it. verdict: "is no recipe".
  JsonFields(std::string_view file, std::string_view verdict) : file_(file), verdict_(verdict) {}
  Error bad(std::string_view why) const;

  // Throw unless the whole file, or the value called `name`, is of that kind.
  void check_root(const Json& root) const;
  const Json& object(const Json& value, std::string_view name) const;
  std::string text(const Json& value, std::string_view name) const;
  std::int64_t integer(const Json& value, std::string_view name) const;

  const Json& member(const Json& object, std::string_view key) const;  // throws where there is none
  void check_keys(const Json& object, std::initializer_list<std::string_view> known) const;

 private:
  std::string_view file_, verdict_;
};

}  // namespace dodeca::runtime
