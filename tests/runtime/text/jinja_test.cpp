// The interpreter of chat templates against Jinja2, and against templates that want to be expensive.
#include "runtime/text/jinja.hpp"

#include <doctest/doctest.h>

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "runtime/base/error.hpp"
#include "runtime/text/chat_template.hpp"

using namespace dodeca::runtime;

namespace {

std::string rendered_with(std::string_view source, const Json& messages) {
  std::string out;
  for (const TextPiece& piece : ChatTemplate::from_source(source, "<s>", "</s>").render_pieces(messages, Json()))
    out += piece.text;
  return out;
}

std::string rendered_or_error(std::string_view source) {
  try {
    return rendered_with(source, Json::parse(R"([{"role": "user", "content": "x"}])"));
  } catch (const Error& error) {
    return error.what();
  }
}

double processor_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

}  // namespace

TEST_CASE("templates render as Jinja2 does, or are refused") {
  std::ifstream in(DODECA_SOURCE_DIR "/tests/golden/text/jinja.json");
  const Json golden = Json::parse(in);
  REQUIRE(golden["cases"].size() > 2000);
  int n_refused = 0;
  for (const Json& entry : golden["cases"]) {
    const auto source = entry[0].get<std::string>();
    std::optional<std::string> text;
    std::string error;
    try {
      text = rendered_with(source, golden["messages"]);
    } catch (const Error& refusal) {
      error = refusal.what();
      CHECK_MESSAGE(error.find("the chat template ") != std::string::npos, source, ": ", error);
    }
    if (entry[1].is_null()) {
      CHECK_MESSAGE(!text, source, " is an error, not ", *text);
    } else if (text) {
      CHECK_MESSAGE(*text == entry[1].get<std::string>(), source);
    } else {
      ++n_refused;
    }
  }
  CHECK(n_refused < 85);  // ranges and spread arguments as texts, slices of what has none, autoescape, ...
}

TEST_CASE("what is refused is named, with its line") {
  const auto has = [](std::string_view source, std::string_view name) {
    const std::string error = rendered_or_error(source);
    CHECK_MESSAGE(error.find(name) != std::string::npos, source, ": ", error);
  };
  has("{{ 'x' | tojson(colour=1) }}", "|tojson the unknown argument 'colour'");
  has("{{ 'x' | upper(1) }}", "1 arguments to |upper");
  has("{{ 'x'.split(by='a') }}", "split() the unknown argument 'by'");
  has("{{ 'x'.replace('a') }}", "replace() too few");
  has("{% macro m(a) %}{% endmacro %}{{ m(b=1) }}", "the macro m() the unknown argument 'b'");
  has("{{ 1 is divisibleby }}", "the test 'divisibleby'");
  has("{{ messages | groupby('role') }}", "'groupby'");
  has("{% if true %}{{ 'x' | nofilter }}{% endif %}", "'nofilter'");
  has("{{ 'x'.encode() }}", "encode()");
  has("{{ [1].append(2) }}", "'append'");
  has("{{ pad_token }}", "'pad_token'");
  has("\n\n{{ nope.x }}", "line=3");
  has("\n{{ (1,\n 'a' - 2) }}", "line=3");
}

TEST_CASE("names of attributes are whole words, whatever the template asks for") {
  CHECK(rendered_or_error("{{ messages[0][''] is defined }}{{ ''[''] is defined }}") == "FalseFalse");
  CHECK(rendered_or_error("{{ ''['upper lower'] is defined }}{{ ''[' upper'] is defined }}{{ ''[' '] is defined }}") ==
        "FalseFalseFalse");
  CHECK(rendered_or_error("{{ ''['upper'] is defined }}{{ ''['uppe'] is defined }}") == "TrueFalse");
  CHECK(rendered_or_error("{{ messages | map(attribute='.content') | list }}").find("the chat template") !=
        std::string::npos);
}

TEST_CASE("deep values are refused before they can hurt") {
  for (const char* const grow : {"{% set ns.l = [ns.l] %}", "{% set ns.l = {'a': ns.l} %}", "{% set ns.l = (ns.l,) %}",
                                 "{% set ns.l = [ns.l] | map('list') %}", "{% set ns.l = [ns.l].copy %}"}) {
    const std::string source =
        std::string("{% set ns = namespace(l=[1]) %}{% for i in range(9000) %}") + grow + "{% endfor %}x";
    CHECK_MESSAGE(rendered_or_error(source).find("deep") != std::string::npos, grow);
  }
  // Namespaces may refer to each other in chains and circles.
  CHECK(rendered_or_error(
            "{% set ns = namespace(x=1) %}{% for i in range(50000) %}{% set ns.x = namespace(x=ns.x, y=ns) %}"
            "{% set ns.self = [ns] %}{% endfor %}ok")
            .ends_with("ok"));
}

TEST_CASE("work, memory and time are bounded, whatever the operation") {
  const std::string shared =
      "{% set ns = namespace(l=[1,1], m=[1,1]) %}{% for i in range(60) %}{% set ns.l = [ns.l,ns.l] %}"
      "{% set ns.m = [ns.m,ns.m] %}{% endfor %}";
  const auto repeated = [](std::string_view start, std::string_view what) {
    return std::string("{% set l = ") + std::string(start) +
           " %}{% for i in range(100000) %}{% for j in range(100000) %}" + "{% set x = " + std::string(what) +
           " %}{% endfor %}{% endfor %}";
  };
  std::vector<std::string> sources = {shared + "{{ ns.l | tojson }}",
                                      shared + "{{ ns.l }}",
                                      shared + "{{ ns.l == ns.m }}",
                                      shared + "{{ ns.l in [ns.m] }}",
                                      shared + "{{ [ns.l, ns.m] | sort }}",
                                      shared + "{{ ns.l ~ '' }}",
                                      shared + "{{ [ns.l, ns.m] | join }}",
                                      shared + "{{ [ns.l, ns.m] | max }}",
                                      shared + "{{ [ns.l].index(ns.m) }}",
                                      shared + "{{ '%s' % (ns.l,) }}",
                                      shared + "{{ {'a': ns.l} == {'a': ns.m} }}"};
  for (const char* const what :
       {"-1 in l", "l[1:]", "l + []", "l | sort", "l | list | length", "l | unique | list", "l | reverse | list",
        "l | map('string') | list", "l | join(',')", "l | tojson", "l == l[:-1] + [7]", "l | sum", "l | max",
        "l | select('odd') | list", "l.index(99999)", "l.count(-1)", "l | batch(3) | list"})
    sources.push_back(repeated("range(100000) | list", what));
  for (const char* const what : {"l[1:]",
                                 "l | length",
                                 "l.split('b')",
                                 "l.split()",
                                 "l.rsplit('b')",
                                 "l.strip()",
                                 "l | upper",
                                 "l | list",
                                 "l.find('b')",
                                 "l.count('ab')",
                                 "l | replace('a', 'b')",
                                 "l ~ 'x'",
                                 "l == l[1:]",
                                 "l | tojson",
                                 "l | indent",
                                 "l.title()",
                                 "l.splitlines()",
                                 "l[::-1]",
                                 "l | trim",
                                 "l is lower",
                                 "l < l[1:]",
                                 "l.startswith(l)",
                                 "l.isalnum()",
                                 "[l] | sort",
                                 "l | wordcount",
                                 "l | e",
                                 "{l: 1}[l]",
                                 "l.rfind('b')",
                                 "[l, l] | unique | list",
                                 "l | int",
                                 "'%s' % l",
                                 "'{}'.format(l)",
                                 "l.center(5)",
                                 "l.rpartition('b')"})
    sources.push_back(repeated("'a\u00e9' * 500000", what));
  sources.push_back(
      "{% set l = 'a' * 4000000 %}{% set m = 'a' * 2000000 ~ 'b' %}{% for i in range(100000) %}{{ l.find(m) }}{{ "
      "l.rfind(m) }}{{ m in l }}{% endfor %}");
  sources.push_back("{% for i in range(100000) %}{% set x %}{{ 'x' * 9999999 }}{% endset %}{% endfor %}");
  sources.push_back(
      "{% macro a(n) %}{% for i in range(8) %}{{ a(n) if n > 0 }}{{ a(n - 1) if n > 0 }}{% endfor %}{% endmacro %}{{ "
      "a(12) }}");
  sources.push_back(
      "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x | replace('a', ns.x) %}{% endfor %}");
  sources.push_back(
      "{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = ns.x + ['x' * 99999 ~ i] %}{% endfor %}");
  sources.push_back(
      "{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = [ns.x | join(i | string * 99999), 1] "
      "%}{% endfor %}");
  sources.push_back("{{ 'x'.center(99999999999) }}{{ 'x' | indent(999) }}");
  sources.push_back("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}");
  sources.push_back(
      "{% macro m() %}{{ caller() }}{% endmacro %}{% macro n() %}{% call m() %}{{ n() }}{% endcall %}{% endmacro %}{{ "
      "n() }}");
  // A sixtieth of what a prompt may cost: every operation must come to the limit, and soon.
  double slowest = 0;
  for (const std::string& source : sources) {
    const double before = processor_seconds();
    jinja::Budget budget({.work = 50'000'000, .held_bytes = std::size_t{64} << 20});
    std::string error;
    try {
      jinja::Template(source).render(budget, {}, 0);
    } catch (const Error& refusal) {
      error = refusal.what();
    }
    CHECK_MESSAGE(error.find("line=1") != std::string::npos, source.substr(0, 300), ": ", error.substr(0, 300));
    const double seconds = processor_seconds() - before;
    if (seconds > 2) MESSAGE(seconds, " s: ", source.substr(0, 300));
    slowest = std::max(slowest, seconds);
  }
  CHECK(slowest < 8);  // with sanitizers, which are ten times slower
  CHECK(rendered_or_error(sources[0]).find("line=1") != std::string::npos);
}

TEST_CASE("a template renders in several threads at once") {
  const ChatTemplate chat = ChatTemplate::from_source(
      "{% for m in messages %}{{ 'literal ' * 3 ~ m.content | upper }}{% endfor %}", "<s>", "</s>");
  const std::vector<ChatMessage> messages = {{"user", "a"}, {"user", "b"}};
  std::vector<std::thread> threads;
  std::vector<int> right(4);
  for (std::size_t t = 0; t < right.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i)
        right[t] += chat.render(messages) == "literal literal literal Aliteral literal literal B";
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int n : right) CHECK(n == 200);
}
