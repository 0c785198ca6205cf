// What is said when something is refused.
#pragma once

#include <string>

#include "runtime/base/error.hpp"

namespace dodeca::tests {

// All of the error that f() throws, "no error" where it throws none.
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const runtime::Error& error) {
    return error.what();
  }
  return "no error";
}

// Its sentence alone.
template <class F>
std::string sentence_of(F&& f) {
  try {
    f();
  } catch (const runtime::Error& error) {
    return error.sentence();
  }
  return "no error";
}

}  // namespace dodeca::tests
