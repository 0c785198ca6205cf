// Text out of files made safe to show: control characters and bytes that are no UTF-8 become \xNN, so that a hostile
// name can neither drive the terminal nor break a line.
#pragma once

#include <string>
#include <string_view>

namespace dodeca::runtime {

// At most max_bytes of the text (then "..."); kept_controls lists control characters that stay as they are, such as
// "\n".
std::string printable(std::string_view text, std::size_t max_bytes = std::string_view::npos,
                      std::string_view kept_controls = {});

// Length of the UTF-8 sequence at the start of the text (1 to 4), or 0 when it begins with none (overlong forms,
// surrogates and code points above U+10FFFF are none).
std::size_t utf8_length(std::string_view text);

}  // namespace dodeca::runtime
