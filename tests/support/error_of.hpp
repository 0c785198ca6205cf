// What is said when something is refused.
#pragma once

#include <optional>
#include <string>

#include "runtime/base/error.hpp"

namespace dodeca::tests {

template <class F>
std::optional<runtime::Error> thrown_by(F&& f) {
  try {
    f();
  } catch (const runtime::Error& error) {
    return error;
  }
  return std::nullopt;
}

// All of the error that f() throws, "no error" where it throws none.
template <class F>
std::string error_of(F&& f) {
  const auto error = thrown_by(f);
  return error ? error->what() : "no error";
}

// Its sentence alone.
template <class F>
std::string sentence_of(F&& f) {
  const auto error = thrown_by(f);
  return error ? error->sentence() : "no error";
}

}  // namespace dodeca::tests
