// A template and the messages that it is rendered with.
#include "runtime/text/chat_template.hpp"

#include <nlohmann/json.hpp>

#include "tests/fuzz/target.hpp"

namespace dodeca::tests {

void fuzz_chat_template(std::string_view bytes) {
  const auto files = split_files(bytes, 2);
  const auto chat = runtime::ChatTemplate::from_source(files[0], "<s>", "</s>");
  const runtime::Json messages = files.size() > 1 ? runtime::parse_json(files[1], "messages") : runtime::Json::array();
  runtime::ChatOptions options;
  options.now = 1'750'000'000;
  chat.render_pieces(messages, runtime::Json(), options);
}

std::vector<std::string> fuzz_chat_template_seeds() {
  const std::string_view messages =
      R"([{"role":"system","content":"S"},{"role":"user","content":"a b\nc","tool_calls":[{"name":"f"}]}])";
  return {
      join_files(
          {"{%- set ns = namespace(a=1, t='') -%}{% for m in messages if m.role != 'x' %}{{ m['content'][1:] | trim "
           "~ loop.index }}{% if loop.first and not loop.last %}{% set ns.t = ns.t + m.role * 2 %}{% endif %}"
           "{% else %}none{% endfor %}{{ ns.t.split('s') | join('-') | upper }}",
           messages}),
      join_files({"{% macro f(x, y=2) %}{{ x if y is defined else [1, {'k': -2}] }}{% endmacro %}{{ f(1) }}{# c #}"
                  "{{ messages | map(attribute='role') | list | tojson(indent=2) }}{{ range(5) | list | sort }}"
                  "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
                  messages}),
      join_files(
          {"{{ bos_token }}{% set t %}[{{ messages[-1].content.replace('a', 'bb') }}]{% endset %}{{ t | indent(2) }}"
           "{{ strftime_now('%d %B %Y') }}{{ {'a': [1, 2.5, none]} | dictsort }}{{ 7 // 2 ** 3 - 4 % 3 }}"
           "{{ 'x' in ['x'] and 1 < 2 or false }}{{ messages[::-1] | first }}",
           messages}),
      // Values that grow with every turn of a loop: how far is a matter of the interpreter's limits.
      join_files(
          {"{% set ns = namespace(v=[], t='ab', d={}) %}{% for i in range(6) %}{% set ns.v = [ns.v, i] %}"
           "{% set ns.t = ns.t + ns.t %}{% set ns.d = {'k': ns.d, 'l': ns.v} %}{% endfor %}"
           "{{ ns.v }}{{ ns.t | length }}{{ ns.d | tojson }}{{ ns.v == ns.v }}{{ ns.t.replace('a', ns.t) | length }}"
           "{{ (ns.t * 3).split('a') | join(ns.t) | length }}",
           messages})};
}

}  // namespace dodeca::tests
