"""Make chats.json: prompts that Jinja2 renders with the settings of transformers' apply_chat_template, for templates written in
the manner of the published families and for the corners of the language that such templates use.

usage: make_chats.py    needs transformers and jinja2 (written with 5.23.0 and 3.1.6)
"""
import json
import os

import jinja2
import transformers
from transformers.utils.chat_template_utils import render_jinja_template

HERE = os.path.dirname(os.path.abspath(__file__))
DEMO = os.path.join(HERE, "..", "..", "..", "bench", "demo", "model", "tokenizer_config.json")

FAMILIES = {
    "demo": json.load(open(DEMO, encoding="utf-8"))["chat_template"],
    # DeepSeek-V3 and R1: system messages joined and put first, thinking dropped from the history
    "deepseek-v3": """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}
{%- set ns = namespace(first=true, prompt='') %}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}
        {%- if ns.first %}{% set ns.prompt = ns.prompt + message['content'] %}{% set ns.first = false %}
        {%- else %}{% set ns.prompt = ns.prompt + '\\n\\n' + message['content'] %}{%- endif %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}{{ ns.prompt }}
{%- for message in messages %}
    {%- if message['role'] == 'user' %}{{ '<\uff5cUser\uff5c>' + message['content'] }}{%- endif %}
    {%- if message['role'] == 'assistant' and 'tool_calls' not in message %}
        {%- set content = message['content'] %}
        {%- if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}
        {{- '<\uff5cAssistant\uff5c>' + content + '<\uff5cend\u2581of\u2581sentence\uff5c>' }}
    {%- endif %}
{%- endfor -%}
{% if add_generation_prompt %}{{ '<\uff5cAssistant\uff5c><think>\\n' }}{% endif %}""",
    # DeepSeek-V2
    "deepseek-v2": "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{{ bos_token }}"
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ 'User: ' + m['content'] + '\n\n' }}{% elif m['role'] == 'assistant' %}"
    "{{ 'Assistant: ' + m['content'] + eos_token }}{% elif m['role'] == 'system' %}{{ m['content'] + '\n\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
    # DeepSeek-V3.1: a switch for thinking
    "deepseek-v3.1": """{%- if not thinking is defined %}{% set thinking = false %}{% endif %}
{{- bos_token }}
{%- for m in messages %}
{%- if m.role == 'user' %}{{ '<\uff5cUser\uff5c>' ~ m.content }}{% elif m.role == 'assistant' -%}
{{ '<\uff5cAssistant\uff5c></think>' ~ (m.content.split('</think>', 1)[1] if '</think>' in m.content else m.content) ~ eos_token }}
{%- endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<\uff5cAssistant\uff5c>' }}{{ '<think>' if thinking else '</think>' }}{% endif %}""",
    # Qwen3: the thinking of the last round stays
    "qwen3": """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(open=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.open and message.role == 'user' and not (message.content.startswith('<tool_response>')) %}
        {%- set ns.open = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == 'assistant' %}
        {%- set thought = '' %}
        {%- if '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or thought) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
""",
    # Mixtral: turns must alternate
    "mixtral": "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('turns do not alternate') }}{% endif %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}"
    "{% else %}{{ raise_exception('roles are user and assistant') }}{% endif %}{% endfor %}",
    # GLM-4.5: macros, text parts
    "glm": """[gMASK]<sop>
{%- macro visible(content) -%}
    {%- if content is string -%}
        {{- content }}
    {%- elif content is iterable and content is not mapping -%}
        {%- for item in content -%}
            {%- if item is mapping and item.type == 'text' -%}{{- item.text }}{%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{- content }}
    {%- endif -%}
{%- endmacro -%}
{%- for m in messages %}
{%- if m.role == 'user' -%}<|user|>
{{ visible(m.content) }}
{{- '/nothink' if (enable_thinking is defined and not enable_thinking and not visible(m.content).endswith("/nothink")) else '' -}}
{%- elif m.role == 'assistant' -%}
<|assistant|>
{%- set content = visible(m.content) %}
{{- '\\n<think></think>' -}}
{%- if content.strip() -%}
{{ '\\n' + content.strip() }}
{%- endif -%}
{%- elif m.role == 'system' -%}
<|system|>
{{ visible(m.content) }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    <|assistant|>{{- '\\n<think></think>' if (enable_thinking is defined and not enable_thinking) else '' -}}
{%- endif -%}""",
    # gpt-oss: default keyword arguments, filters on the loop, the end of the last message
    "harmony": """{%- macro render(kind, body, end="<|end|>") -%}
{{ "<|start|>" + kind + "<|message|>" + body + end }}
{%- endmacro -%}
{%- if messages[0].role == "developer" or messages[0].role == "system" -%}
    {%- set intro = messages[0].content %}{% set rest = messages[1:] %}
{%- else %}{% set intro = "" %}{% set rest = messages %}{% endif -%}
{{ render("system", "Knowledge cutoff: 2024-06\\n\\n# Valid channels: analysis, commentary, final.") }}
{%- if intro %}{{ render("developer", "# Instructions\\n\\n" + intro) }}{% endif -%}
{%- for m in rest -%}
  {%- if m.role == 'assistant' -%}
    {{- render("assistant<|channel|>final", m.content, end="<|return|>" if loop.last and not add_generation_prompt else "<|end|>") }}
  {%- else %}{{ render(m.role, m.content) }}{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|start|>assistant{%- endif -%}""",
    # Kimi-K2 and OLMoE
    "kimi": """{%- for message in messages -%}
  {%- if loop.first and messages[0]['role'] != 'system' -%}
    {{'<|im_system|>system<|im_middle|>You are Kimi.<|im_end|>'}}
  {%- endif -%}
  {%- if message['role'] == 'system' -%}
    {{'<|im_system|>system<|im_middle|>'}}
  {%- elif message['role'] == 'assistant' -%}
    {{'<|im_assistant|>assistant<|im_middle|>'}}
  {%- else -%}
    {{'<|im_user|>user<|im_middle|>'}}
  {%- endif -%}
  {%- if message['content'] is string -%}
    {{ message['content'] + '<|im_end|>' }}
  {%- else -%}
    {%- for content in message['content'] -%}
      {%- if 'text' in content -%}{{ content['text'] }}{%- endif -%}
    {%- endfor -%}
    {{ '<|im_end|>' }}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{'<|im_assistant|>assistant<|im_middle|>'}}
{%- endif -%}
""",
    "olmoe": "{{ bos_token }}{% for message in messages %}\n{% if message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] }}\n"
    "{% elif message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] }}\n{% elif message['role'] == 'assistant' %}\n"
    "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n"
    "{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
}

CORNERS = {
    "white space": "a\n  {% if true %}  \n  b  \n  {%- endif -%}  \n\n c {{ 1 }} \n{# note #}\nd\n   {#- x -#}   e {%+ if true %}f{% endif +%}\ng\n\n",
    "numbers": "{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 1 + 2 * 3 - 4 }} {{ 1.5 + 1 }} {{ 3 == 3.0 }} {{ true + 1 }} {{ 10 - 2 - 3 }} {{ -2 ** 2 }}",
    "strings": "{{ 'a' ~ 1 ~ none ~ true }} {{ 'ab' * 3 }} {{ \"q\\\"'\\t|\\u00e9\\x41\" }} {{ 'x' 'y' }} {{ 'abcde'[1:3] }} {{ 'abcde'[::-1] }} {{ 'a\u00e9\U0001f680z'[-2] }} {{ 'h\u00e9llo'|length }} {{ 'abc'[10:] }}|",
    "methods": "{{ '  x '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a,b,,c'.split(',') | join('+') }}|{{ ' a  b '.split() | join('+') }}|{{ 'a-b-c'.rsplit('-', 1) | join('+') }}|{{ 'a-b-c'.split('-', 1)[1] }}|{{ 'Abc'.lower() }}{{ 'Abc'.upper() }}|{{ 'hello world'.title() }}|{{ 'aXbX'.replace('X', 'yy') }}|{{ 'aXbX'.replace('X', 'y', 1) }}|{{ 'abc'.startswith('ab') }}|{{ 'abc'.endswith(('x', 'bc')) }}|{{ 'abc'.find('c') }}|{{ 'aXbX'.count('X') }}|{{ '\u00a0\u3000x\u2003'.strip() }}|{{ 'ab\\ncd\\n'.splitlines() }}|{{ 'prefix-x'.removeprefix('prefix-') }}",
    "filters": "{{ [3,1,2]|sort|join(',') }} {{ 'abc'|upper }} {{ missing|default('d') }} {{ ''|default('e', true) }} {{ [1,2,3]|first }} {{ [1,2,3]|last }} {{ ['a','b']|map('upper')|list }} {{ messages|map(attribute='role')|join(',') }} {{ messages|selectattr('role','equalto','user')|list|length }} {{ messages|rejectattr('role','eq','user')|map(attribute='role')|list }} {{ '  t '|trim }} {{ 'l1\\nl2\\n\\nl3'|indent(2) }} {{ 'l1\\nl2'|indent(2, first=true) }} {{ {'b':1,'a':2}|dictsort }} {{ {'b':1}|items|list }} {{ '42'|int + 1 }} {{ 'x'|int }} {{ 3.7|int }} {{ [1,1,2]|unique|list }} {{ [1,2]|reverse|list }} {{ 'hello'|capitalize }} {{ 5|string + 'x' }} {{ [1,2]|length }}",
    "json": "{{ {'a': [1, 2.5, true, none, 'q\"\\n\\u00e9<>&'], 'b': {}} | tojson }} {{ {'a': [1, {'c': []}]} | tojson(indent=2) }} {{ 'x' | tojson }} {{ messages[0] | tojson }}",
    "tests": "{{ x is defined }} {{ x is not defined }} {{ none is none }} {{ 1 is number }} {{ true is number }} {{ 's' is string }} {{ [] is iterable }} {{ {} is mapping }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 1 is odd and not 2 is odd }} {{ 'a' is in ['a'] }} {{ true is true }} {{ 1 is true }} {{ false is false }} {{ 3 is eq 3 }}",
    "logic": "{{ 1 or 2 }} {{ 0 or 'x' }} {{ '' and 1 }}| {{ not 0 }} {{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' in 'cat' }} {{ 'x' not in {'y': 1} }} {{ 'yes' if x else 'no' }}{{ 'only' if false }}| {{ 2 in [1, 2] }} {{ none == false }} {{ '' == none }} {{ 1 == 1 and 'a' != 'b' or false }} {{ 'b' > 'a' }}",
    "loops": "{% for i in range(5) if i % 2 == 0 %}{{ loop.index }}/{{ loop.length }}:{{ i }}{{ ',' if not loop.last }}{% endfor %} {% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %} {% for x in [] %}x{% else %}none{% endfor %} {% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %} {% for c in 'ab\u00e9' %}[{{ c }}]{% endfor %} {% for i in range(3, 0, -1) %}{{ i }}{{ loop.revindex }}{{ loop.previtem if loop.previtem is defined }}{% endfor %} {% for i in [1,2,3] %}{{ loop.cycle('o', 'e') }}{% endfor %}",
    "scopes": "{% set a = 1 %}{% for i in [1,2] %}{% set a = a + i %}{{ a }}{% endfor %}{{ a }}{% if true %}{% set a = 9 %}{% endif %}{{ a }}{% set ns = namespace(n=0) %}{% for i in [1,2] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}{% set b, c = 4, 5 %}{{ b }}{{ c }}{% set text %}block {{ a }}{% endset %}{{ text|upper }}{% macro m(p, q='dq') %}({{ p }},{{ q }},{{ a }}){% endmacro %}{{ m(1) }}{{ m(q=2, p=3) }}{% set d = {'k': [1, {'z': 'deep'}]} %}{{ d.k[1].z }}{{ d['k'][-1]['z'] }}{{ d.nope is defined }}{{ d.nope }}",
    "python": "{{ [1, 'a', none, true, 2.0, {'k': 'v'}] }} {{ ['it\\'s'] }} {{ {'a': 1} }} {{ 1.0 }} {{ 1e3 if false else 0.1 }} {{ none }} {{ [] }} {{ (1, 2)[0] }}",
    "errors": "{% if messages|length > 1 %}{{ raise_exception('one message only') }}{% endif %}{{ messages[0].content }}",
    "generation": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}",
}

CHATS = {
    "system": [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "Hi  there"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "Why?\nBecause."},
    ],
    "one": [{"role": "user", "content": "A \"quoted\" {{ x }} \u00fcn\u00ef \U0001f680"}],
    "thinking": [
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "<think>\nlet me see\n</think>\n\n4"},
        {"role": "user", "content": "and 3+3?"},
        {"role": "assistant", "content": "<think>\nhm</think>6"},
    ],
    "two systems": [{"role": "system", "content": "One."}, {"role": "system", "content": "Two."}, {"role": "user", "content": "x"}],
}
BOS, EOS = "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>"


def render(source, chat, prompt, thinking):
    switches = {} if thinking is None else {"thinking": thinking, "enable_thinking": thinking}
    try:
        return render_jinja_template([chat], chat_template=source, add_generation_prompt=prompt, bos_token=BOS, eos_token=EOS, **switches)[0][0]
    except jinja2.exceptions.TemplateError:
        return None


def main():
    cases = []
    for name, source in FAMILIES.items():
        for chat in CHATS:
            for prompt, thinking in ((True, None), (False, None), (True, True), (True, False)):
                cases.append({"template": name, "chat": chat, "prompt": prompt, "thinking": thinking, "text": render(source, CHATS[chat], prompt, thinking)})
    for name, source in CORNERS.items():
        for chat in ("system", "one"):
            text = render(source, CHATS[chat], True, None)
            assert text is not None or name == "errors", name
            cases.append({"template": name, "chat": chat, "prompt": True, "thinking": None, "text": text})
    with open(os.path.join(HERE, "chats.json"), "w", encoding="utf-8") as file:
        file.write("{\n" + f' "versions": {json.dumps({"transformers": transformers.__version__, "jinja2": jinja2.__version__})},\n')
        file.write(f' "bos": {json.dumps(BOS)},\n "eos": {json.dumps(EOS)},\n')
        file.write(' "templates": ' + json.dumps({**FAMILIES, **CORNERS}, indent=1).replace("\n", "\n ") + ",\n")
        file.write(' "chats": ' + json.dumps(CHATS, indent=1).replace("\n", "\n ") + ",\n")
        file.write(' "cases": [\n' + ",\n".join("  " + json.dumps(case) for case in cases) + "\n ]\n}\n")


main()
