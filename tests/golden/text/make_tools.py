"""Make tools.json: prompts with tool definitions, calls and their results that Jinja2 renders with the settings of transformers'
apply_chat_template, for templates written with the constructs of Kimi-K2-Thinking's and GLM-4.7's.

usage: make_tools.py    needs transformers and jinja2 (written with 5.24.0 and 3.1.6)
"""
import copy
import json
import os

import jinja2
import transformers
from transformers.utils.chat_template_utils import render_jinja_template

HERE = os.path.dirname(os.path.abspath(__file__))

TEMPLATES = {
    # Reasoning stays behind the last answer without a call; separators of JSON, macros that look up keys, counted ids
    "kimi-k2-thinking": """{%- macro body(m) -%}
  {%- set c = m.get('content') -%}
  {%- if c is string -%}{{ c }}
  {%- elif c is not none -%}
    {%- for part in c -%}
      {%- if part['type'] == 'image' or 'image_url' in part -%}<|media_begin|>image<|media_content|><|media_pad|><|media_end|>
      {%- else -%}{{ part['text'] }}{%- endif -%}
    {%- endfor -%}
  {%- endif -%}
{%- endmacro -%}
{%- macro opened(m) -%}
  {%- set name = m.get('name') or m['role'] -%}
  {%- if m['role'] in ['user', 'assistant'] -%}<|im_{{ m['role'] }}|>{{ name }}<|im_middle|>
  {%- else -%}<|im_system|>{{ name }}<|im_middle|>{%- endif -%}
{%- endmacro -%}
{%- macro calls(m) -%}
  <|tool_calls_section_begin|>
  {%- for call in m['tool_calls'] -%}
    {%- set f = call['function'] -%}
    <|tool_call_begin|>{{ call['id'] }}<|tool_call_argument_begin|>{% if f['arguments'] is string %}{{ f['arguments'] }}{% else %}{{ f['arguments'] | tojson }}{% endif %}<|tool_call_end|>
  {%- endfor -%}
  <|tool_calls_section_end|>
{%- endmacro -%}
{# the last answer that calls nothing #}
{%- set ns = namespace(last=-1) -%}
{%- for i in range(messages|length - 1, -1, -1) -%}
  {%- if messages[i]['role'] == 'assistant' and not messages[i].get('tool_calls') and ns.last < 0 -%}{%- set ns.last = i -%}{%- endif -%}
{%- endfor -%}
{%- set old, new = messages[:ns.last + 1], messages[ns.last + 1:] -%}
{%- if tools -%}<|im_system|>tool_declare<|im_middle|>{{ tools | tojson(separators=(',', ':')) }}<|im_end|>{%- endif -%}
{%- if messages|length == 0 or messages[0]['role'] != 'system' -%}<|im_system|>system<|im_middle|>You are Kimi.<|im_end|>{%- endif -%}
{%- for part in [old, new] -%}
  {%- set recent = loop.last -%}
  {%- for m in part -%}
    {{ opened(m) }}
    {%- if m['role'] == 'assistant' -%}
      <think>{{ m.get('reasoning_content', '') if recent else '' }}</think>{{ body(m) }}
      {%- if m.get('tool_calls') -%}{{ calls(m) }}{%- endif -%}
    {%- elif m['role'] == 'tool' -%}
      ## Return of {{ m.tool_call_id }}
{{ body(m) }}
    {%- elif m['content'] is not none -%}{{ body(m) }}{%- endif -%}
    <|im_end|>
  {%- endfor -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|im_assistant|>assistant<|im_middle|>{%- endif -%}
""",
    # Definitions one a line, arguments as pairs, results in a row behind one mark, reasoning behind the last question
    "glm-4.7": """[gMASK]<sop>
{%- if tools -%}
<|system|>
# Tools
<tools>
{% for tool in tools %}
{{ tool | tojson(ensure_ascii=False) }}
{% endfor %}
</tools>
<tool_call>{name}<arg_key>{key}</arg_key><arg_value>{value}</arg_value></tool_call>{%- endif -%}
{%- macro shown(content) -%}
    {%- if content is string -%}{{- content }}
    {%- elif content is iterable and content is not mapping -%}
        {%- for item in content -%}
            {%- if item is mapping and item.type == 'text' -%}{{- item.text }}{%- elif item is string -%}{{- item }}{%- endif -%}
        {%- endfor -%}
    {%- else -%}{{- content }}{%- endif -%}
{%- endmacro -%}
{%- set ns = namespace(question=-1) %}
{%- for m in messages %}{%- if m.role == 'user' %}{% set ns.question = loop.index0 -%}{%- endif %}{%- endfor %}
{% for m in messages %}
{%- if m.role == 'user' -%}<|user|>{{ shown(m.content) }}
{%- elif m.role == 'assistant' -%}
<|assistant|>
{%- set thought = '' %}{%- set content = shown(m.content) %}
{%- if m.reasoning_content is string %}{%- set thought = m.reasoning_content %}
{%- elif '</think>' in content %}
    {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
    {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
{%- endif %}
{%- if ((clear_thinking is defined and not clear_thinking) or loop.index0 > ns.question) and thought -%}
{{ '<think>' + thought.strip() + '</think>' }}
{%- else -%}
{{ '</think>' }}
{%- endif -%}
{%- if content.strip() -%}{{ content.strip() }}{%- endif -%}
{% if m.tool_calls %}
{% for tc in m.tool_calls %}
{%- if tc.function %}{%- set tc = tc.function %}{%- endif %}
{{- '<tool_call>' + tc.name -}}
{% set given = tc.arguments %}{% for k, v in given.items() %}<arg_key>{{ k }}</arg_key><arg_value>{{ v | tojson(ensure_ascii=False) if v is not string else v }}</arg_value>{% endfor %}</tool_call>{% endfor %}
{% endif %}
{%- elif m.role == 'tool' -%}
{%- if m.content is string -%}
{%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|observation|>' }}{%- endif %}
{{- '<tool_response>' }}{{- m.content }}{{- '</tool_response>' }}
{%- else -%}
<|observation|>{% for tr in m.content %}
<tool_response>{{ tr.output if tr.output is defined else tr }}</tool_response>{% endfor -%}
{% endif -%}
{%- elif m.role == 'system' -%}<|system|>{{ shown(m.content) }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{{- '</think>' if (enable_thinking is defined and not enable_thinking) else '<think>' -}}{%- endif -%}""",
    # Lists cannot be changed: transformers refuses as well
    "queue": "{%- set queue = namespace(ids=[]) -%}{%- for m in messages -%}{%- set _ = queue.ids.append(m.role) -%}{%- endfor -%}{{ queue.ids }}",
}
TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "Weather of a \"city\" <\u00e9> & more", "parameters": {
            "type": "object", "properties": {"city": {"type": "string", "enum": ["K\u00f6ln", "\u6771\u4eac"]}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city"]}}},
    {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}},
]


def call(index, name, arguments):
    return {"id": f"functions.{name}:{index}", "type": "function", "function": {"name": name, "arguments": arguments}}


CHATS = {
    "plain": [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"},
              {"role": "user", "content": "Go on"}],
    "thoughts": [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\n4"}, {"role": "user", "content": "3+3"},
                 {"role": "assistant", "content": "6", "reasoning_content": "three\n"}],
    "answered": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "reasoning_content": "need it",
         "tool_calls": [call(0, "get_weather", {"city": "K\u00f6ln", "days": 2}), call(1, "now", {})]},
        {"role": "tool", "tool_call_id": "functions.get_weather:0", "name": "get_weather", "content": "sunny <b>"},
        {"role": "tool", "tool_call_id": "functions.now:1", "name": "now", "content": "12:00"},
        {"role": "assistant", "content": "Sunny.", "reasoning_content": "done"}, {"role": "user", "content": "Thanks"}],
    "open": [
        {"role": "user", "content": [{"type": "text", "text": "Weather"}, {"type": "text", "text": " in A?"}]},
        {"role": "assistant", "content": "Let me see.", "reasoning_content": "look",
         "tool_calls": [call(0, "get_weather", {"city": "a<b>&'", "days": 1.5, "deep": {"k": [1, None, True, "\u00fc"]}})]},
        {"role": "tool", "tool_call_id": "functions.get_weather:0", "content": "ok"}],
    "text arguments": [{"role": "user", "content": "x"}, {"role": "assistant", "content": None, "tool_calls": [call(0, "now", "{\"a\": 1}")]}],
}


def render(source, chat, tools, thinking):
    switches = {} if thinking is None else {"thinking": thinking, "enable_thinking": thinking}
    try:
        return render_jinja_template([copy.deepcopy(chat)], tools=tools, chat_template=source, add_generation_prompt=True, bos_token="<s>",
                                     eos_token="</s>", **switches)[0][0]
    except (jinja2.exceptions.TemplateError, TypeError):
        return None


def main():
    cases = []
    for name, source in TEMPLATES.items():
        for chat, messages in CHATS.items():
            for tools in (False, True):
                for thinking in (None, False):
                    text = render(source, messages, TOOLS if tools else None, thinking)
                    cases.append({"template": name, "chat": chat, "tools": tools, "thinking": thinking, "text": text})
    failed = {(case["template"], case["chat"]) for case in cases if case["text"] is None}
    assert failed == {("queue", chat) for chat in CHATS} | {("glm-4.7", "text arguments")}, failed
    with open(os.path.join(HERE, "tools.json"), "w", encoding="utf-8") as file:
        file.write("{\n" + f' "versions": {json.dumps({"transformers": transformers.__version__, "jinja2": jinja2.__version__})},\n')
        for key, value in (("templates", TEMPLATES), ("tools", TOOLS), ("chats", CHATS)):
            file.write(f' "{key}": ' + json.dumps(value, indent=1).replace("\n", "\n ") + ",\n")
        file.write(' "cases": [\n' + ",\n".join("  " + json.dumps(case) for case in cases) + "\n ]\n}\n")


main()
