#include "quant/check.hpp"

#include <cstdio>
#include <cstdlib>
#include <string>

namespace dodeca {

CheckedValue::CheckedValue(long long integer, double real, Kind kind) : integer_(integer), real_(real), kind_(kind) {}

void check_failed(const char* file, int line, const char* condition, const char* names,
                  std::initializer_list<CheckedValue> values) {
  std::string text = std::string(file) + ":" + std::to_string(line) + ": check failed: " + condition;
  if (values.size() > 0) text += std::string(" [") + names + " =";
  for (const CheckedValue& value : values) {
    char buffer[32];
    const char* format = value.kind_ == CheckedValue::kAddress ? "0x%llx" : "%lld";
    if (value.kind_ == CheckedValue::kReal)
      std::snprintf(buffer, sizeof buffer, "%g", value.real_);
    else
      std::snprintf(buffer, sizeof buffer, format, value.integer_);
    text += std::string(&value == values.begin() ? " " : ", ") + buffer;
  }
  if (values.size() > 0) text += "]";
  std::fprintf(stderr, "%s\n", text.c_str());
  std::abort();
}

}  // namespace dodeca
