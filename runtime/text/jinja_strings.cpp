#include "runtime/text/jinja_strings.hpp"

#include <string.h>

#include <algorithm>

#include "runtime/base/error.hpp"
#include "runtime/text/jinja_operators.hpp"
#include "runtime/text/utf8.hpp"

namespace dodeca::runtime::jinja {
namespace {

bool is_space_at(std::string_view text, std::size_t pos, std::size_t n) {
  return utf8::length_at(text, pos) == n && utf8::is_space(utf8::code_point(text, pos, n), true);
}

// Where `what` stands, from the left or from the right, not overlapping, at most `count` times if that is not negative.
std::vector<std::size_t> places(Budget& budget, std::string_view text, std::string_view what, Integer count,
                                bool from_right) {
  std::vector<std::size_t> found;
  std::string turned_text, turned_what;
  if (from_right) {
    budget.work(text.size());
    turned_text.assign(text.rbegin(), text.rend());
    turned_what.assign(what.rbegin(), what.rend());
  }
  const std::string_view in = from_right ? turned_text : text, wanted = from_right ? turned_what : what;
  Held held(budget, turned_text.size());
  for (std::size_t pos = 0; count != 0 && (count < 0 || static_cast<Integer>(found.size()) < count);) {
    const std::size_t at = find_text(budget, in, wanted, pos);
    if (at == std::string::npos) break;
    held.grow(sizeof(std::size_t));
    found.push_back(from_right ? text.size() - at - what.size() : at);
    pos = at + what.size();
  }
  if (from_right) std::reverse(found.begin(), found.end());
  return found;
}

// Begins and ends of the runs that are no white space; the last one, or the first from the right, keeps what is behind
// it when the count is used up.
Value split_at_space(Budget& budget, const Text& text, Integer count, bool from_right) {
  const CodePoints starts(budget, text.bytes);
  const std::size_t n = starts.size();
  const auto space = [&](std::size_t i) { return is_space_at(text.bytes, starts[i], starts[i + 1] - starts[i]); };
  ListBuilder parts(budget);
  const auto add = [&](std::size_t begin, std::size_t end) {
    parts.add(Value::of(budget, part(budget, text, starts[begin], starts[end] - starts[begin])));
  };
  budget.work(4 * n);
  if (!from_right) {
    for (std::size_t i = 0; i < n;) {
      while (i < n && space(i)) ++i;
      const std::size_t begin = i;
      if (begin == n) break;
      if (count == 0) {
        add(begin, n);
        break;
      }
      while (i < n && !space(i)) ++i;
      add(begin, i);
      if (count > 0) --count;
    }
    return parts.value();
  }
  for (std::size_t i = n; i > 0;) {
    while (i > 0 && space(i - 1)) --i;
    const std::size_t end = i;
    if (end == 0) break;
    if (count == 0) {
      add(0, end);
      break;
    }
    while (i > 0 && !space(i - 1)) --i;
    add(i, end);
    if (count > 0) --count;
  }
  std::reverse(parts.items().begin(), parts.items().end());
  return parts.value();
}

}  // namespace

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<signed char>(c) >= 0; });
}

std::size_t find_text(Budget& budget, std::string_view text, std::string_view what, std::size_t pos) {
  if (pos > text.size()) return std::string::npos;
  if (what.empty()) return pos;
  const void* found = memmem(text.data() + pos, text.size() - pos, what.data(), what.size());
  const std::size_t at =
      found ? static_cast<std::size_t>(static_cast<const char*>(found) - text.data()) : std::string::npos;
  budget.work(kWorkPerItem + what.size() + (found ? at - pos : text.size() - pos));
  return at;
}

std::size_t rfind_text(Budget& budget, std::string_view text, std::string_view what) {
  if (what.empty()) return text.size();
  const std::vector<std::size_t> found = places(budget, text, what, 1, true);
  return found.empty() ? std::string::npos : found[0];
}

Text strip(Budget& budget, const Text& text, const Value* characters, bool left, bool right) {
  const CodePoints starts(budget, text.bytes);
  const auto drops = [&](std::size_t i) {
    const std::size_t n = starts[i + 1] - starts[i];
    if (!characters) return is_space_at(text.bytes, starts[i], n);
    return find_text(budget, characters->text().bytes, std::string_view(text.bytes).substr(starts[i], n), 0) !=
           std::string::npos;
  };
  std::size_t begin = 0, end = starts.size();
  while (left && begin < end && drops(begin)) ++begin;
  while (right && begin < end && drops(end - 1)) --end;
  return part(budget, text, starts[begin], starts[end] - starts[begin]);
}

Text replace(Budget& budget, const Text& text, const Text& from, const Text& to, Integer count) {
  TextBuilder out(budget);
  if (from.size() == 0) {  // before every character, and at the end
    const CodePoints starts(budget, text.bytes);
    std::size_t done = 0;
    for (std::size_t i = 0; i <= starts.size() && count != 0; ++i, --count) {
      out.add(text, done, starts[i] - done).add(to);
      done = starts[i];
    }
    return out.add(text, done, text.size() - done).take();
  }
  std::size_t pos = 0;
  for (; count != 0; --count) {
    const std::size_t found = find_text(budget, text.bytes, from.bytes, pos);
    if (found == std::string::npos) break;
    out.add(text, pos, found - pos).add(to);
    pos = found + from.size();
  }
  return out.add(text, pos, text.size() - pos).take();
}

Value split(Budget& budget, const Text& text, const Text* separator, Integer count, bool from_right) {
  if (!separator) return split_at_space(budget, text, count, from_right);
  if (separator->size() == 0) budget.fail("splits at an empty string");
  ListBuilder parts(budget);
  std::size_t pos = 0;
  for (const std::size_t at : places(budget, text.bytes, separator->bytes, count, from_right)) {
    parts.add(Value::of(budget, part(budget, text, pos, at - pos)));
    pos = at + separator->size();
  }
  parts.add(Value::of(budget, part(budget, text, pos)));
  return parts.value();
}

List split_lines(Budget& budget, const Text& text, bool keep_ends) {
  budget.work(4 * text.size());
  ListBuilder rows(budget);
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t n = utf8::step_at(text.bytes, i);
    const char32_t c = utf8::length_at(text.bytes, i) == n ? utf8::code_point(text.bytes, i, n) : 0;
    const bool ends = (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    const std::size_t next = i + n + (c == '\r' && i + 1 < text.size() && text.bytes[i + 1] == '\n' ? 1 : 0);
    if (ends) {
      rows.add(Value::of(budget, part(budget, text, begin, (keep_ends ? next : i) - begin)));
      begin = next;
    }
    i = ends ? next : i + n;
  }
  if (begin < text.size()) rows.add(Value::of(budget, part(budget, text, begin)));
  return rows.take();
}

Text padded(Budget& budget, const Text& text, Integer width, const Text& fill, std::size_t side) {
  const CodePoints starts(budget, text.bytes);
  const auto n = static_cast<Integer>(starts.size());
  if (width <= n) return text;
  const auto pad = static_cast<std::size_t>(std::min<Integer>(width - n, kMaxTextBytes + 1));
  // Python puts the odd one to the left when the width is odd.
  const std::size_t left = side == 0 ? pad : side == 1 ? 0 : pad / 2 + (pad & static_cast<std::size_t>(width & 1) & 1);
  TextBuilder out(budget);
  for (std::size_t i = 0; i < left; ++i) out.add(fill);
  out.add(text);
  for (std::size_t i = left; i < pad; ++i) out.add(fill);
  return out.take();
}

Text join(Budget& budget, const List& items, const Text& separator, bool only_strings) {
  TextBuilder out(budget);
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out.add(separator);
    if ((only_strings && !items[i].is(Kind::kString)) || items[i].safe)
      budget.fail(fmt::format("joins {}", kind_name(items[i])));
    out.add(to_text(budget, items[i]));
  }
  return out.take();
}

Text indented(Budget& budget, const Text& text, const Text& pad, bool first, bool blank) {
  const Text with_end = TextBuilder(budget).add(text).add("\n").take();
  const List rows = split_lines(budget, with_end, false);
  TextBuilder out(budget);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i > 0) out.add("\n");
    if (i == 0 ? first : blank || rows[i].text().size() > 0) out.add(pad);
    out.add(rows[i].text());
  }
  return out.take();
}

}  // namespace dodeca::runtime::jinja
