#!/usr/bin/env python3
"""Writes jinja.json: small templates for the corners of the language, and what Jinja2 renders with the settings of
transformers' apply_chat_template; null where Jinja2 fails. Half of them are written by hand, the others are made at
random from parts, always the same ones.

usage: make_jinja.py [SEED FILE]    needs jinja2 (written with 3.1.6 and Python 3.11)
"""
import copy
import json
import os
import platform
import random
import sys
import warnings

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = os.path.dirname(os.path.abspath(__file__))


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


ENVIRONMENT = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
ENVIRONMENT.filters["tojson"] = tojson
ENVIRONMENT.globals["raise_exception"] = raise_exception
ENVIRONMENT.globals["strftime_now"] = lambda form: "now " + form

MESSAGES = [
    {"role": "system", "content": "Be \u00fcber-exact."},
    {"role": "user", "content": "Weather in K\u00f6ln?\n", "n": 3, "f": 2.0, "big": 12345678901234567890, "no": None, "yes": True},
    {"role": "assistant", "content": "", "calls": [{"name": "f", "args": {"b": [1, 2.5, -0.0, 1e16, 1e-7], "a": "q\"\\/\n\t\x07\u00e9\u2028", "items": 5}}]},
    {"role": "tool", "content": "<think>\nhm</think> It \u4f60\u597d \U0001f600!", "empty": {}, "none": []},
]
M = "messages"

HAND = {
    "numbers": """1_000|0x1F|0o17|0b101|1e3|1e16|1e15|123456789012345678|1.5e-5|0.1 + 0.2|10 / 5|7 // 2.0|-7 // 2|-7 % 3|7 % -3|-7.5 % 2|7.5 // -2|2 ** -1|2 ** 0.5|2 ** 64|2 ** 100|(-8) ** (1/3)|5 % 0|1 / 0|1.0 // 0|0 ** -1|0 ** 0|1e308 * 10|-1e308 * 10|1e308 * 10 - 1e308 * 10|10 ** 20|9223372036854775807 + 1|-9223372036854775808 - 1|3 - -2|+5|-(-5)|+true|-false|true + true|true * 3.0|1 == 1.0|1 == true|2 ** 53 + 1 == 2.0 ** 53|2.0 ** 53 < 2 ** 53 + 1|1 < 2 < 3|1 < 3 < 2|3 > 2 > 1 > 0|1 < 2 == true|not 1 == 2|00|007|1__0|5.|.5|1.e3|2 ** 3 ** 2|-2 ** 2|10 - 2 - 3|100 // 7 * 7 + 100 % 7|1.0|100.0|1e22|1e21|123456789.123456789|1/3|2/3|1e100|5e-324|0.0001|0.00001|-0.0|0.0 == -0.0|1 + 1.5|7 / 2|6 / 2|'x' * 3|3 * 'x'|'x' * -1|[1] * 2|2 * (1,)|'a' + 1|1 + 'a'|[1] + (2,)|none + 1|'a' - 'b'|'3' * '3'|1.5 * 'a'""",
    "strings": r"""'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1] ~ {}|"it's"|'say "x"'|'a\nb\tc\\d\'e'|"\x41\u00e9\U0001F600"|'\q'|'\101\8\0a\7770'|'\08'|'a\
b'|'\/'|'a' 'b' "c"|'a' ~ 'b' | upper|('a' ~ 'b') | upper|'1' + 2 ~ 'b'|1 ~ 2 + 3|2 * 3 ~ 4|1 + 2 ~ 'b'|'%s-%d' % ('a', 3)|'%s' % 'x'|'%5.2f|%-5s|%05d|%x|%%' % (3.14159, 'ab', 42, 255)|'%s' % none|'%s %s' % ('a',)|'%d' % 'x'|'%r' % 'x'|'{}:{}'.format('a', 1)|'{0}{1}{0}'.format('a', 'b')|'{x}'.format(x=5)|'{{}}'.format()|'%s=%s' | format('k', 'v')|'abc'[0]|'abc'[-1]|'abc'[3]|'abc'['x']|'abc'.foo|'abc'[1:]|'abc'[::-1]|'abc'[-2:]|'abcdef'[1:5:2]|'abcdef'[5:1:-2]|'abcdef'[10:]|'abcdef'[:-10]|'abcdef'[-100:2]|'abcdef'[::0]|'abc'[1:none]|'abc'['a':]|'h\u00e9llo\U0001f600'[::-1]|'' == ""|'a' < 'B'|'a' in 'cat'|'' in 'x'|1 in 'x'|'x' not in 'abc'|'abc' is string|'a' == 1|'%' % ()|'%s' % [1, 2]|'%s' % (1, 2)|'%(a)s' % {'a': 1}""",
    "methods": r"""'  x '.strip()|'xxaxx'.strip('x')|'xyaxy'.lstrip('yx')|'abcab'.rstrip('ab')|'\u3000x\u00a0\x1c'.strip()|' a  b '.split()|'a,b,,c'.split(',')|'a,b,c'.split(',', 1)|'a b  c'.split(none, 1)|' a b  c '.split(maxsplit=1)|'a b c'.rsplit(' ', 1)|' a b  c '.rsplit(none, 1)|'a-b-c'.rsplit('-')|'aaa'.rsplit('aa')|'aaaa'.split('aa')|''.split()|''.split(',')|'a'.split('')|'abc'.split('b', maxsplit=-1)|'a-b'.partition('-')|'a-b-c'.rpartition('-')|'ab'.partition('-')|'ab'.rpartition('-')|'l1\r\nl2\rl3\n\nx'.splitlines()|'a\nb\n'.splitlines(true)|'a\x0bb\x0cc\x1cd\x85e\u2028f'.splitlines()|''.splitlines()|'abc'.startswith('ab')|'abc'.startswith(('x', 'a'))|'abc'.startswith(['a'])|'abc'.endswith('')|'aXbX'.replace('X', 'yy')|'aXbX'.replace('X', 'y', 1)|'abc'.replace('', '-')|'abc'.replace('', '-', 2)|'aaa'.replace('aa', 'b')|'abc'.replace('b')|'abc'.find('c')|'abc'.find('z')|'abcabc'.rfind('b')|'abcabc'.find('b', 2)|'abcabc'.find('b', -2, 100)|'abc'.index('z')|'abc'.index('c')|'abcb'.rindex('b')|'aXbX'.count('X')|'aaa'.count('aa')|'abc'.count('')|'\u4f60\u597d\u4f60'.rfind('\u4f60')|','.join(['a', 'b'])|','.join('abc')|','.join([1])|','.join({'a': 1})|'Abc dEF'.lower()|'Abc'.upper()|'hello wORLD it\'s'.title()|'hELLO'.capitalize()|'Abc'.swapcase()|'stra\u00dfe'.upper()|'\u01c6a'.title()|'\ufb01x'.capitalize()|'\u0130'.lower()|'\u00c4\u00d6'.lower()|'x'.ljust(3) ~ '.'|'x'.rjust(3, '*')|'x'.center(4) ~ '.'|'xy'.center(5, '-')|'7'.zfill(3)|'-7'.zfill(4)|'abc'.isalpha()|'a1'.isalnum()|'12'.isdigit()|''.isdigit()|' \t'.isspace()|'ABC'.isupper()|'aB'.islower()|'a1'.islower()|'1'.isupper()|'abc'.removeprefix('a')|'abc'.removesuffix('bc')|'abc'.removesuffix('x')|'abc'.nope()|'abc'.encode()|'abc'.title|'abc'.upper is callable|'a'.strip(1)|'a'.lower(1)|'a'.split(sep=',')|'a,b'.split(sep=',', maxsplit=1)|'a'.replace(old='a', new='b')""",
    "lists": """[1, 2] + [3]|[0] * 3|[1, [2]] == [1, [2]]|[1] == (1,)|[] == ()|(1, 2) + (3,)|[3, 4][-1]|[3, 4][2]|[3, 4]['a']|[3, 4][1.0]|[1, 2, 3, 4][::2]|[1, 2, 3, 4][::-1]|[1, 2, 3, 4][-1:0:-1]|[1, 2, 3][5:]|(1, 2, 3)[1:]|[1, 2].index(2)|[1, 2].index(5)|[1, 1].count(1)|[1].append(2)|[1].append is defined|[1].copy()|range(3)|range(3) | list|range(2, 8, 3) | list|range(5, 0, -2) | list|range(3)[1]|range(5)[1:3] | list|range(3) == [0, 1, 2]|range(0)|range(3) | length|range(100001)|range(100000) | length|range(1, 2, 0)|range('a')|range()|1 in [1.0]|none in [none]|'a' in ['b', 'a']|[1] in [[1]]|[1, 2] < [1, 3]|[1, 2] < [1]|(1,) < (2,)|[1] < (2,)|['a'] < [1]|[1, 'a'] == [1, 'a']|() | length|(1)|(1,)|[1,]|[,]|[1, 'a', none, true, 2.0, {'k': 'v'}, (1,), ()]|['it\\'s', "q\\"", 'b\\\\s', 'n\\nl', '\\u00e9', '\\u00a0', '\\u200b', '\\U0001f600', '\\x07', '\\x7f', 'a\\'b"c']|[[]] | length|[] or 'x'|[none] and 'y'|1, 2|[1, 2] is sequence|[1, 2] is iterable|[1, 2].0|[[1, 2], [3, 4]].1.0|[1, 2] ~ [3]""",
    "dicts": """{'a': 1}.get('a')|{'a': 1}.get('b')|{'a': 1}.get('b', 2)|{'a': 1}.get('b', default=2)|{'a': 1}.get()|dict(a=1, b='x')|dict({'a': 1}, b=2)|dict([('a', 1)])|{'a': {'b': 1}}.a.b|{1: 'x'}[1]|{1: 'x'}[1.0]|{true: 'x'}[1]|{1: 'a', true: 'b'}|{none: 1}|{(1, 2): 3}|{[1]: 2}|{1.5: 2}|{'a': 1, 'a': 2}|{'a': 1, 'b': 2} | list|{'a': 1, 'b': 2} == {'b': 2, 'a': 1}|{'a': 1} == {'a': 1.0}|'a' in {'a': 1}|1 in {'a': 1}|[1] in {'a': 1}|{'a': 1}.keys()|{'a': 1}.values()|{'a': 1}.items()|{'a': 1}.keys() | list|{'a': 1}.items() | list|{'a': 1}.items() | length|{'a': 1}.values() | first|{'a': 1}.keys()[0]|'a' in {'a': 1}.keys()|1 in {'a': 1}.values()|('a', 1) in {'a': 1}.items()|{'items': 5}['items']|{'items': 5}.items|{'get': 5}.get('get')|{'a': 1}['keys'] is callable|{'a': 1}.keys is defined|{'a': 1}.pop is defined|{'a': 1}.pop('a')|{'a': 1}.update({'b': 2})|{'a': 1}.setdefault('b', 1)|{'a': 1}.copy()|{'a': 1} | length|{} is mapping|{} is sequence|{}.x|{}['x']|{}.x.y|{} or 'e'|{'a': 1}[0]|{'a': 1}['a':]|{'a': 1,}|{'a' 'b': 1}|{'a': none}.a is none|{'a': 1} < {'b': 1}|{'a': 1} + {'b': 1}|{'_x': 1}._x|{'__class__': 1}.__class__|{'a': 1}.items() | tojson|{'b': [1, {'c': (1, 2)}], 'a': none}|messages[2].calls[0].args|messages[2]['calls'][0].args.items|messages[2]['calls'][0].args['items']|messages[3].empty.x is defined|messages[1]""",
    "undefined": """nope|nope ~ 'x'|nope is none|nope == none|nope == nope2|nope != 1|nope is defined|nope is undefined|nope | length|nope | default('d')|none | default('d')|none | default('d', true)|'' | default('d', boolean=true)|nope | default|nope | default(default_value='z')|nope.x|nope['x']|nope[0]|nope[1:]|nope()|nope.x is defined|messages[0].nope|messages[0].nope.deeper|messages[9]|messages[9].x|messages[0]['nope'] is defined|nope + 1|1 + nope|'a' + nope|nope + 'a'|-nope|nope < 1|nope and 1|nope or 2|not nope|'a' in nope|nope in [1]|nope in [nope2]|nope | list|nope | upper|nope | trim|nope | join(',')|nope | first|nope | last|nope | int|nope | float|nope | string|nope | tojson|nope | items | list|nope | dictsort|nope | sort|nope | map('upper') | list|nope | sum|nope | abs|nope | replace('a', 'b')|nope | indent|nope | reverse | list|nope is string|nope is iterable|nope is sequence|nope is mapping|nope is callable|nope is number|[nope]|{'a': nope}|'%s' % nope|nope * 2|'y' if nope|'y' if nope else 'n'|('b' if false) ~ 'c'|('b' if false) is defined|('b' if false).x|nope | selectattr('x') | list|none | map('upper') | list|none | list|none | length|none.x|none['x']|none is defined|none + 'a'|none | join|none | upper|none | string|nope is eq nope2|nope is sameas nope2|strftime_now is defined|raise_exception is defined|range is defined|namespace is callable|dict is defined|loop is defined|caller is defined|self is defined|messages is defined""",
    "logic": """1 or 2|0 or 'x'|'' and 1|not 0|not 'a'|not not 1|1 and 2 and 3|0 or '' or none|true and false or true|not true or true|not (true or true)|1 == 1 and 2 == 2|1 if true else 2|1 if false else 2 if false else 3|1 if false|(1 if true) + 1|'a' if 0.0 else 'b'|'a' if [none] else 'b'|'a' if ' ' else 'b'|'a' if range(0) else 'b'|'a' if {}.items() else 'b'|'a' if ([] | map('upper')) else 'b'|not 'x' in 'abc'|not [] | length|'a' == 'a' == 'a'|1 != 2 != 1|none == false|'' == none|0 == false|'1' == 1|[] == []|true is true|1 is true|true == 1|none is none|True|False|None|TRUE|NONE|1 in [1] in [[1]]|1 not in [2] and 3|2 > 1 and 'a' < 'b' or nope.x|true or nope.x|false and nope.x|1 < 'a'|'a' < 1|none < 1|true < 2|1 <= 1.0 >= 1""",
    "filters": r"""[3, 1, 2] | sort|['b', 'A', 'c', 'B'] | sort|['b', 'A', 'c', 'B'] | sort(case_sensitive=true)|['b', 'A', 'a', 'B'] | sort(reverse=true)|[3, 1] | sort(true)|[1, 'a'] | sort|[none] | sort|[none, none] | sort|messages | sort(attribute='n,role') | length|[{'a': 1, 'b': 2}, {'a': 1, 'b': 1}] | sort(attribute='a,b')|[(1, none), (1, none)] | sort|messages | sort(attribute='role') | map(attribute='role') | join(',')|messages | sort(attribute='n') | list|[[2, 1], [1, 2]] | sort|[[2, 1], [1, 2]] | sort(attribute=1)|[(1, 'b'), (0, 'c')] | sort(attribute='1')|{'b': 1, 'a': 2} | sort|'hello' | sort|[3, 1, 3, 1.0, true] | unique | list|['a', 'A', 'b'] | unique | list|['a', 'A'] | unique(case_sensitive=true) | list|['a', 'A'] | unique(true) | list|[[1], [1]] | unique | list|[(1,), (1,)] | unique | list|messages | unique(attribute='role') | list | length|[1, 2] | unique|{'b': 2, 'A': 1, 'c': 0} | dictsort|{'b': 2, 'A': 1, 'c': 0} | dictsort(true)|{'b': 2, 'A': 1, 'c': 0} | dictsort(by='value')|{'b': 2, 'A': 1, 'c': 0} | dictsort(false, 'value', true)|{'b': 2, 'A': 1} | dictsort(reverse=true)|{'b': 2, 'A': 1} | dictsort(by='x')|{1: 2, 'a': 1} | dictsort|[1] | dictsort|[1, 5, 2] | max|[3, 1] | min|['b', 'A'] | min|['b', 'A'] | min(case_sensitive=true)|[] | max|[1, 'a'] | max|messages | max(attribute='role')|[1, 2, 3] | sum|[1.5, 2] | sum|[[1, 2], [3]] | sum(start=[])|[{'x': 1}, {'x': 2}] | sum(attribute='x')|[{'x': 1}, {'x': 2}] | sum('x', 10)|['a', 'b'] | sum|['a', 'b'] | sum(start='')|2.567 | round(1)|2.5 | round|3.5 | round|-2.5 | round|2.675 | round(2)|2 | round|7 | round(1)|2.1 | round(0, 'ceil')|2.19 | round(1, 'floor')|2.9 | round(method='floor')|2.5 | round(method='x')|1234.5 | round(-2)|'a' | round|-3 | abs|-3.5 | abs|'a' | abs|true | abs|'3.7' | float|'x' | float|'x' | float(1.5)|'inf' | float|'nan' | float|'1e5' | float|' 2 ' | float|none | float|'1_0.5' | float|'0x1f' | int(0, 16)|'0b11' | int(base=2)|'0x1f' | int(base=0)|'12abc' | int(7)|' 12 ' | int|'1_000' | int|'1e3' | int|'3.9' | int|1e3 | int|-3.7 | int|'-5' | int|'+5' | int|'' | int|none | int|none | int(-1)|[] | int|true | int|'12345678901234567890' | int|'x' | int(default=none)|'007' | int|'inf' | int|1e400 | int|'z' | int(base=36)""",
    "more filters": r"""[1, 2] | first|[] | first|'abc' | first|'abc' | last|[1, 2] | last|[] | last|{'a': 1, 'b': 2} | last|{'a': 1} | first|5 | first|[1, 2] | reverse|[1, 2] | reverse | list|'abc' | reverse|{'a': 1, 'b': 2} | reverse | list|[1, 2] | map('string') | reverse|[1, 2] | map('string') | reverse | list|'abc' | list|{'a': 1} | list|5 | list|{'a': 1} | items|{'a': 1} | items | list|[1] | items | list|[1, 2] | join|[1, 2] | join(', ')|'abc' | join('-')|{'a': 1, 'b': 2} | join('-')|[1, none, true, 'x', 2.0] | join('|')|messages | join(',', 'role')|messages | join(',', attribute='role')|[[1, 2], [3, 4]] | join(',', attribute=0)|[1, 2] | join(d='+')|[1, 2] | join(sep='+')|5 | join|['a', 'b'] | map('upper') | list|['a', 'b'] | map('upper')|['a', 'b'] | map('upper') | length|(['a', 'b'] | map('upper'))[0]|['a'] | map('nofilter') | list|['ab', 'cd'] | map('replace', 'a', 'x') | list|['a'] | map('default', 'x') | list|messages | map(attribute='role') | list|messages | map(attribute='n') | list|messages | map(attribute='n', default=0) | list|messages | map(attribute='calls.0.name', default='-') | list|messages | map(attribute='calls.0.name') | list|messages | map(attribute='items') | list | length|[[1, 2]] | map(attribute=1) | list|[[1, 2]] | map(attribute='1') | list|['a'] | map | list|['a'] | map('upper', x=1) | list|[1] | map(attribute='a', foo=1) | list|messages | map('length') | list|[1, 0, 2] | select | list|[1, 0, 2] | reject | list|[1, 2, 3, 4] | select('even') | list|[1, 2, 3, 4] | select('divisibleby', 2) | list|[1, 2, 3, 4] | reject('gt', 2) | list|['a', 1, none] | select('string') | list|[1, 2] | select('notest') | list|messages | selectattr('n') | list | length|messages | selectattr('role', 'equalto', 'user') | list | length|messages | selectattr('role', 'in', ['user', 'tool']) | map(attribute='role') | join(',')|messages | rejectattr('n', 'defined') | list | length|messages | selectattr('calls') | map(attribute='calls.0.args.b') | list|messages | selectattr | list|messages | selectattr('role', '==', 'user') | first | tojson|[1, 2, 3] | batch(2) | list|[1, 2, 3] | batch(2, 0) | list|[] | batch(2) | list|[1, 2, 3] | batch(2)|'abc' | batch(2) | list|[1, 2, 3] | slice(2) | list|{'k': 'v'} | attr('k')|'x' | attr('upper') is callable|messages | groupby('role') | list | length|'<a&b>"\'' | e|'<a>' | escape | e|'<a>' | e ~ '<b>'|('<a>' | e) + '<b>'|'<a>' | safe|('<a>' | safe) ~ '<b>'|('<a>' | safe) + '<b>'|('<a>' | safe) | length|'<b>x</b>' | striptags|'a b' | urlencode""",
    "text filters": r"""'abc' | upper|'ABC' | lower|'hello wORLD' | title|"it's here-now (x) [y] {z} <w>" | title|'hELLO wORLD' | capitalize|'\u00e4\u00f6' | upper|'\u00df' | title|'\u00df' | capitalize|'\u03b1\u0392' | title|'\u0391\u03a3' | lower|'\u01c6' | title|'x' | center(5) ~ '.'|'xy' | center(5) ~ '.'|'  t ' | trim ~ '.'|'xxaxx' | trim('x')|'xxa' | trim(chars='x')|5 | trim|none | trim|'a b c' | wordcount|'' | wordcount|'a_b c-d' | wordcount|'abcdef' | truncate(3, true, '')|'abc def ghi jkl' | truncate(9)|'abc def ghi jkl' | truncate(9, true)|'abc def ghi jkl' | truncate(9, false, '...', 0)|'abc def ghi jkl' | truncate(9, leeway=0)|'abc' | truncate(2)|'aaa' | replace('a', 'b', 2)|'aaa' | replace('a', 'b', count=1)|'abc' | replace('', '-')|'a1' | replace(1, 2)|5 | replace(5, 6)|'aXb' | replace('X')|'l1\nl2\n\nl3' | indent|'l1\nl2' | indent(2)|'l1\nl2' | indent(2, true)|'l1\nl2' | indent(2, first=true)|'l1\n\nl2' | indent(2, blank=true)|'l1\r\nl2' | indent(1)|'l1\nl2' | indent('> ')|'l1\nl2\n' | indent(1) ~ '.'|'' | indent(2, true) ~ '.'|5 | indent|'abc' | length|'\u4f60\U0001f600' | length|5 | length|'abc' | count|5 | string ~ 'x'|1.0 | string|none | string|[1] | string|'abc' | nofilter|'abc' | upper(1)|'abc' | upper.x|'abc' | first.upper|'a' | d('b')|'' | d('b', true)|true | string | lower|'abc' | string is string|1 | tojson|'x"\\/\n\t\r\b\f\x01\x7f\u00e9\u2028\U0001f600' | tojson|'\u00e9\u2028\U0001f600\x7f' | tojson(ensure_ascii=true)|'\u00e9' | tojson(true)|[1, 2.0, none, true, 'a', {'b': []}] | tojson|{'a': [1, {'c': []}], 'b': {}} | tojson(indent=2)|{'a': [1]} | tojson(indent=0)|{'a': [1]} | tojson(indent='> ')|{'a': [1]} | tojson(indent=none)|{'b': 1, 'a': [1, 2]} | tojson(sort_keys=true)|{'b': 1, 'a': [1, 2]} | tojson(separators=(',', ':'))|{'b': 1, 'a': [1, 2]} | tojson(indent=1, separators=[', ', '='])|{'a': 1} | tojson(separators=(',',))|{'a': 1} | tojson(false, 2)|{'a': 1} | tojson(foo=1)|{1: 2, none: 3, true: 4, 1.5: 5} | tojson|{(1, 2): 3} | tojson|{1: 2, 'a': 3} | tojson(sort_keys=true)|(1, 2) | tojson|1e16 | tojson|1e400 | tojson|(1e308 * 10) | tojson|range(2) | tojson|[nope] | tojson|messages | tojson|messages[2] | tojson(indent=4, ensure_ascii=true)|2 ** 70 | tojson|-0.0 | tojson""",
    "tests": """5 is gt 3|5 is ge(5)|5 is lt 3|5 is le(5)|5 is greaterthan 4|1 is lessthan(2)|3 is eq 3|3 is ne 4|3 is == 3|'a' is lower|'A' is upper|'Aa' is upper|'1' is lower|'\u00e9' is lower|1 is sameas 1|none is sameas none|1 is sameas true|true is sameas true|1 is sameas 1.0|'a' is sameas 'b'|[] is sameas []|[] is sequence|() is sequence|'x' is sequence|5 is sequence|'x' is iterable|1 is iterable|none is iterable|true is integer|1 is integer|1.0 is integer|1.5 is float|1 is float|true is boolean|1 is boolean|true is number|1.5 is number|'1' is number|'trim' is filter|'nope' is filter|'odd' is test|1 is not string|not 1 is string|4 is divisibleby(2)|4 is divisibleby 3|4 is divisibleby 0|3 is odd|-3 is odd|4 is even|3.0 is odd|2.5 is even|'a' is odd|1 is in [1, 2]|'a' is in 'abc'|1 is in(2)|1 is not in [1]|{} is mapping|[] is mapping|namespace() is mapping|range(2) is sequence|range(2) is iterable|{}.items() is sequence|{}.keys() is iterable|([] | map('upper')) is iterable|([] | map('upper')) is sequence|1 is notest|1 is defined|1 is defined and 2 is defined|1 is defined or nope|1 is string is defined|1 is none|none is none|'x' is string and 'y' is string|1 is true|false is false|0 is false|'a' is escaped|('a' | e) is escaped|range is callable|'a'.upper is callable|1 is callable|1 is defined if true else 2|nope is defined == false|2 is even == true""",
}

BLOCKS = [
    "a\n  {% if true %}  \n  b  \n  {%- endif -%}  \n\n c {{ 1 }} \n{# note #}\nd\n   {#- x -#}   e {%+ if true %}f{% endif +%}\ng\n\n",
    "  {%+ if true %}\n x\n  {%+ endif +%}\n y {%- if true %} z {% endif -%}\n\n w",
    "{% raw %}{{ x }} {% if %}{% endraw %}|{%- raw -%} y {%- endraw -%} |",
    "a\n  {% raw %}\n  b {{ c }}\n  {% endraw %}\nd",
    "{% raw %}a{% endraw %}\n\nb{%raw%}{%endraw%}c{% raw -%}  d {%- endraw %}",
    "{% raw %}{{ x }}",
    "a {# x %} }} #} b\n  {# line #}\nc\n  {#- y -#}  \nd{# z #}\n\ne",
    "a {#+ b +#}\nc", "{# a", "{#a#}{#b#}\n{#c#}", "x{#-#}y", "x {#- -#} y",
    "\u3000{%- if true -%}\u3000x\u00a0{%- endif -%}\u2003y", "\u3000{{- 'x' -}}\u3000y", "\u00a0 {% if true %}x{% endif %}",
    "{{ 'x' }}\n", "{{ 'x' }}\n\n", "x\r\ny\r{{ 'a\r\nb' }}\r\n", "{% if true %}\r\nx\r\n{% endif %}\r\n",
    "{{- 'a' -}} b {{ 'c' }}  {{- 'd' }}\n{{ 'e' }}\n  {{ 'f' -}}\n  g",
    "{{ '{{' }}{{ '%}' }}{{ '#}' }}{{ \"}}\" }}", "{ {{ 1 }} } {{{'a': 1}}} {{ {'a': {'b': 2}} }}", "{{ {} }}{{ [[]] }}", "{% if {} %}a{% else %}b{% endif %}",
    "{{ 1 }}{{ }}", "{{ 1 2 }}", "{{ (1 }}", "{{ [1) }}", "{% if %}x{% endif %}", "{% endif %}", "{% if 1 %}", "{% foo %}", "{{ a.b. }}", "{{ 1 | }}", "{{ 'a }}", "{% if 1 if 2 else 3 %}x{% endif %}",
    "{% for x in [1, 2, 3] %}{{ x }}{% else %}none{% endfor %}|{% for x in [] %}{{ x }}{% else %}none{% endfor %}",
    "{% for a, b in [[1, 2], (3, 4)] %}{{ a }}{{ b }};{% endfor %}{% for a, b in {'x': 1}.items() %}{{ a }}{{ b }}{% endfor %}", "{% for a, b in [[1]] %}{{ a }}{% endfor %}", "{% for (a, b) in ['xy'] %}{{ b }}{{ a }}{% endfor %}", "{% for a, in [[1]] %}{{ a }}{% endfor %}",
    "{% for x in 'a\u00e9\U0001f600' %}[{{ x }}]{% endfor %}{% for x in {'a': 1, 'b': 2} %}{{ x }}{% endfor %}{% for x in nope %}x{% else %}e{% endfor %}", "{% for x in 5 %}{% endfor %}", "{% for x in none %}{% endfor %}", "{% for x in true %}{% endfor %}",
    "{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}",
    "{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined else '-' }}<{{ m.role }}>{{ loop.nextitem.role if loop.nextitem is defined }} {% endfor %}",
    "{% for m in [1, 1, 2, 2, 1] %}{{ loop.changed(m) }}{{ loop.cycle('a', 'b', 'c') }} {% endfor %}", "{% for m in [1] %}{{ loop.cycle() }}{% endfor %}", "{% for m in [[1], [1]] %}{{ loop.changed(m) }}{% endfor %}", "{% for m in [1] %}{{ loop.nope }}{{ loop.nope is defined }}{% endfor %}", "{% for m in [1] %}{{ loop }}{% endfor %}",
    "{% for x in range(10) if x % 3 == 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }}{{ ',' if not loop.last }}{% endfor %}", "{% for x in [1, 2] if false %}x{% else %}none{% endfor %}", "{% for x in [1, 2] if loop.first %}x{% endfor %}",
    "{% for x in [1, 2] %}{% set outer = loop %}{% for y in [3, 4] %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}",
    "{% for x in [[1, [2, [3]]], 4] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}:{{ loop.depth }}{% endif %}{% endfor %}", "{% for x in [1] %}{{ loop(x) }}{% endfor %}",
    "{% for n in [{'v': 1, 'c': [{'v': 2, 'c': []}]}] recursive %}{{ n.v }}{% if n.c %}<{{ loop(n.c) }}>{% endif %}{% else %}-{% endfor %}",
    "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% break %}", "{% for x in [1] %}{% for y in [1, 2] %}{% break %}{% endfor %}{{ x }}{% endfor %}",
    "{% set a = 1 %}{% for i in [1, 2] %}{{ a }}{% set a = a + i %}{{ a }}{% endfor %}{{ a }}", "{% for i in [1, 2] %}{% if i == 1 %}{% set x = 5 %}{% endif %}{{ x }}|{% endfor %}{{ x }}", "{% set a = 1 %}{% for i in [1] %}{% if false %}{% set a = 3 %}{% endif %}{{ a }}{% endfor %}", "{% if false %}{% set messages = [] %}{% endif %}{{ messages | length }}",
    "{% set a = 1 %}{% if true %}{% set a = 2 %}{% endif %}{{ a }}{% for i in [1] %}{% set a = 3 %}{{ a }}{% endfor %}{{ a }}{% with a = 7, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with %}{% set z = 1 %}{{ z }}{% endwith %}{{ z }}", "{% with a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}{% endwith %}",
    "{% set x, y = 1, 2 %}{{ x }}{{ y }}{% set x, y = y, x %}{{ x }}{{ y }}{% set p, q = 'ab' %}{{ q }}{{ p }}", "{% set x = 1, 2 %}{{ x }}", "{% set x, y = 1 %}", "{% set x %} a {{ 1 + 1 }} {% endset %}[{{ x }}][{{ x | trim }}]{% set u | upper %}abc{% endset %}{{ u }}", "{% set u | replace('a', 'x') | upper %}abc{% endset %}{{ u }}", "{% set x = 5 %}{% set x %}{{ x }}{% endset %}{{ x }}", "{% set true = 1 %}", "{% set x.y = 1 %}", "{% set loop = 1 %}{{ loop }}",
    "{% set ns = namespace(a=1, l=[]) %}{% for i in [1, 2] %}{% set ns.a = ns.a + i %}{% set ns.l = ns.l + [i] %}{% set ns.new = i %}{% endfor %}{{ ns.a }}{{ ns.l }}{{ ns.new }}{{ ns.nope }}{{ ns.nope is defined }}{{ ns['a'] }}", "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a + ns.b }}{% set ns.t %}x{{ ns.a }}{% endset %}{{ ns.t }}", "{% set d = {} %}{% set d.a = 1 %}", "{{ namespace(a=1) }}", "{% set ns = namespace(items=3) %}{{ ns.items }}", "{% set a = namespace(v=1) %}{% set b = a %}{% set b.v = 2 %}{{ a.v }}{{ a == b }}", "{% set ns = namespace() %}{% if ns %}t{% endif %}{% set ns.self = ns %}{{ ns.self.self == ns }}",
    "{% macro m(p, q='dq', r=p) %}({{ p }},{{ q }},{{ r }}){% endmacro %}{{ m(1) }}{{ m(q=2, p=3) }}{{ m(1, 2, 3) }}{{ m() }}{{ m(nope) }}{{ m(1, nope) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}", "{% macro m(a=1, b) %}{% endmacro %}", "{% macro m(x) %}{{ x }}{{ varargs | length }}{{ kwargs.z }}{% endmacro %}{{ m(1, 2, 3, z=4) }}{{ m(1) }}", "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, a=2) }}",
    "{% set a = 1 %}{% macro m() %}{{ a }}{% endmacro %}{% set a = 2 %}{{ m() }}", "{% macro m() %}{{ a }}{% endmacro %}{% set a = 2 %}{{ m() }}", "{% macro f() %}{{ a }}{% set a = 9 %}{{ a }}{% endmacro %}{% set a = 1 %}{{ f() }}{{ a }}", "{% for i in [1, 2] %}{% macro m() %}<{{ i }}>{% endmacro %}{{ m() }}{% endfor %}", "{% for i in [1, 2] %}{% macro m() %}{{ loop.index }}{% endmacro %}{{ m() }}{% endfor %}", "{% macro m() %}{{ loop is defined }}{% endmacro %}{% for i in [1] %}{{ m() }}{% endfor %}", "{% macro fact(n) %}{% if n > 1 %}{{ n }}*{{ fact(n - 1) }}{% else %}1{% endif %}{% endmacro %}{{ fact(5) }}", "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}b{% endmacro %}{{ a() }}",
    "{% macro g() %}[{{ caller() }}]{% endmacro %}{% call g() %}in{% endcall %}", "{% macro g(n) %}{% for i in range(n) %}{{ caller(i, 'x') }}{% endfor %}{% endmacro %}{% call(a, b='d') g(2) %}{{ a }}{{ b }};{% endcall %}", "{% macro g() %}{{ caller is defined }}{{ caller() if caller }}{% endmacro %}{{ g() }}{% call g() %}y{% endcall %}", "{% macro g() %}x{% endmacro %}{% call g() %}in{% endcall %}", "{% for i in [1, 2] %}{% macro g() %}{{ caller() }}{% endmacro %}{% call g() %}{{ i }}{{ loop.index }}{% endcall %}{% endfor %}", "{% call 5 %}{% endcall %}",
    "{% filter upper %}x{{ 'y' }}{% set z = 1 %}{% endfilter %}{{ z }}", "{% filter replace('a', 'b') | upper %}aA{% endfilter %}", "{% filter nofilter %}x{% endfilter %}", "{% filter indent(2) %}a\nb{% endfilter %}",
    "{% generation %}a{{ 1 }}{% set q = 1 %}{% endgeneration %}{{ q }}", "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.role }}{% endgeneration %}\n{% endif %}{% endfor %}",
    "{% if false %}{{ 'x' | no_such_filter }}{% endif %}ok", "{% for x in [] %}{{ x | no_such_filter }}{% endfor %}ok", "{% if false %}{% for x in [] %}{{ x | no_such_filter }}{% endfor %}{% endif %}ok", "{{ 'a' if true else 'b' | no_such_filter }}", "{% if false %}{{ 1 is no_such_test }}{% endif %}ok", "{% macro m() %}{{ 1 is no_such_test }}{% endmacro %}ok", "{% if true %}{% elif 1 is nope %}{% endif %}ok", "{{ x.nope() if false }}", "{% if false %}{% unknown %}{% endif %}",
    "{{ messages | map(attribute='role') | list }}{% set r = messages | map(attribute='role') %}{{ r | join(',') }}|{{ r | join(',') }}", "{% set r = [1, 2, 3] | select %}{{ r | first }}{{ r | first }}{{ r | list }}{{ r | list }}", "{% set r = [1, 2, 3] | map('string') %}{{ '2' in r }}{{ r | list }}", "{% set r = {'a': 1} | items %}{% for k, v in r %}{{ k }}{{ v }}{% endfor %}{% for k, v in r %}{{ k }}{% endfor %}.", "{% set r = {'a': 1}.items() %}{{ r | list }}{{ r | list }}", "{% set r = [3, 1] | sort %}{{ r }}{{ r }}", "{% set r = [1, 2] | reverse %}{{ r | list }}{{ r | list }}",
    "{{ raise_exception('no') }}", "{{ raise_exception() }}", "{% if false %}{{ raise_exception('no') }}{% endif %}ok", "{{ strftime_now('%Y') is string }}", "{% for (a,) in [[1]] %}{{ a }}{% endfor %}", "{% set a, = [1] %}{{ a }}", "{% set (a, b) = [1, 2] %}{{ b }}", "{{ strftime_now() }}", "{{ range(2) | map('string') | list ~ dict(a=1) }}", "{{ lipsum }}", "{{ joiner }}", "{% set c = cycler('a', 'b') %}{{ c.next() }}", "{{ self }}",
    "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{% block b %}x{% endblock %}", "{% autoescape true %}{{ '<' }}{% endautoescape %}", "{% print 1 %}", "{% do 1 %}", "{% trans %}x{% endtrans %}",
    "{{ messages[0]['content'].split('-')[0].upper()[::-1] ~ (messages[0].content | length) }}", "{{ messages[1].big }}{{ messages[1].big + 1 }}{{ messages[1].big | tojson }}{{ messages[1].f }}{{ messages[1].n / 2 }}{{ messages[1].no }}{{ messages[1].yes }}", "{{ messages[::-1] | map(attribute='role') | list }}{% for m in messages[1:-1] %}{{ m.role[0] }}{% endfor %}{{ messages[-1]['role'] }}", "{{ messages[3].content.split('</think>')[-1].lstrip() }}{{ (messages[3].content.split('</think>') | first).split('<think>') | last }}", "{{ messages[3] }}{{ messages[2] }}", "{% if messages[0] is mapping and 'role' in messages[0] and messages[0].role is string %}y{% endif %}", "{{ messages[0].items() | list }}{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in messages[2].calls[0].args | dictsort %}{{ k }}={{ v | tojson if v is not string else v }};{% endfor %}",
    "{{ not none is none }}{{ -1 | abs }}{{ -1.5 | abs | string }}{{ (-1) | abs }}{{ 1 + 2 | string | int }}{{ [1, 2] | length * 2 }}{{ 'a' in 'abc' | upper }}", "{{ {'a': 1}.a if {'a': 1}.a is defined else 'x' }}", "{{ [1, 2, 3] | sum / 2 }}{{ 'ab' | first | upper ~ 'x' }}", "{{ (x for x in y) }}", "{{ lambda: 1 }}", "{{ a := 1 }}", "{{ [*[1]] }}", "{{ dict(**{'a': 1}) }}", "{{ range(*[1, 3]) | list }}", "{{ messages[0].content is defined and messages[0].content }}", "{{ 'a' if 'b' if false else 'c' }}", "{{ x['a']['b'] is defined }}", "{{ [1, 2][0:1][0] }}", "{{ 'abc'[1,] }}", "{{ {'a': 1}['a', 'b'] }}", "{{ 'a'.b.c }}", "{{ 1.real }}{{ 1 .real }}", "{{ 1.5.hex }}", "{{ (5).bit_length() }}",
]


def rendered(source):
    try:
        return ENVIRONMENT.from_string(source).render(messages=copy.deepcopy(MESSAGES), tools=None, documents=None, add_generation_prompt=True, bos_token="<s>", eos_token="</s>")
    except Exception:
        return None


class Random:
    """Expressions and statements from parts, with values of all kinds where the language takes any."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def literal(self):
        return self.r.choice(["0", "1", "-1", "2", "7", "3.5", "-0.5", "1e3", "true", "false", "none", "''", "'a'", "'Ab c'", "'\u00e9\u4f60'", "'x,y,,z'", "'\\n t\\t'", "[]", "[1, 2, 3]", "['b', 'A', 'c']", "[1, 'a', none]", "(1, 2)", "{}", "{'a': 1, 'b': [2]}", "nope", "messages[0]", "messages", "messages[0].role", "messages[1].content", "range(3)", "add_generation_prompt", "bos_token", "[[2, 'x'], [1, 'y']]"])

    def expression(self, depth):
        if depth == 0:
            return self.literal()
        inner = lambda: self.expression(depth - 1)
        kind = self.r.randrange(11)
        if kind == 0:
            return f"({inner()} {self.r.choice(['+', '-', '*', '/', '//', '%', '~', '~', '+'])} {inner()})"
        if kind == 1:
            return f"({inner()} {self.r.choice(['==', '!=', '<', '>', '<=', '>=', 'in', 'not in'])} {inner()})"
        if kind == 2:
            return f"({inner()} {self.r.choice(['and', 'or'])} {inner()})"
        if kind == 3:
            return f"({inner()} if {inner()} else {inner()})"
        if kind == 4:
            return f"({inner()})[{self.r.choice(['0', '-1', '1', '5', ':2', '1:', '::-1', '-2:', '::2', ':-1', chr(39) + 'a' + chr(39), chr(39) + 'role' + chr(39), '1:3:2', '3:0:-1'])}]"
        if kind == 5:
            return f"({inner()}).{self.r.choice(['role', 'content', 'a', 'upper()', 'strip()', 'split()', 'split(' + chr(39) + ',' + chr(39) + ')', 'keys()', 'items()', 'values()', 'get(' + chr(39) + 'a' + chr(39) + ')', 'lower()', 'title()', 'count(1)', 'startswith(' + chr(39) + 'a' + chr(39) + ')', 'replace(' + chr(39) + 'a' + chr(39) + ', ' + chr(39) + 'bb' + chr(39) + ')', 'splitlines()', 'join([' + chr(39) + 'p' + chr(39) + ', ' + chr(39) + 'q' + chr(39) + '])'])}"
        if kind == 6:
            return f"({inner()} is {self.r.choice(['', 'not '])}{self.r.choice(['defined', 'none', 'string', 'number', 'mapping', 'sequence', 'iterable', 'true', 'odd', 'integer', 'float', 'boolean', 'lower', 'callable', 'eq 1', 'in [1, 2]', 'divisibleby 2', 'undefined'])})"
        if kind == 7:
            return f"(not {inner()})"
        if kind == 8:
            return f"[{inner()}, {inner()}]"
        return f"({inner()} | {self.r.choice(['length', 'upper', 'lower', 'trim', 'list', 'first', 'last', 'join', 'join(' + chr(39) + '-' + chr(39) + ')', 'sort', 'reverse', 'unique | list', 'tojson', 'tojson(indent=1)', 'tojson(separators=(' + chr(39) + ',' + chr(39) + ', ' + chr(39) + ':' + chr(39) + '))', 'string', 'int', 'float', 'abs', 'round', 'default(' + chr(39) + 'd' + chr(39) + ')', 'default(' + chr(39) + 'd' + chr(39) + ', true)', 'title', 'capitalize', 'max', 'min', 'sum', 'items | list', 'dictsort', 'map(' + chr(39) + 'string' + chr(39) + ') | list', 'select | list', 'reject | list', 'map(attribute=' + chr(39) + 'role' + chr(39) + ') | list', 'selectattr(' + chr(39) + 'role' + chr(39) + ') | list', 'indent', 'replace(' + chr(39) + 'a' + chr(39) + ', ' + chr(39) + 'X' + chr(39) + ')', 'batch(2) | list', 'wordcount', 'center(7)', 'reverse | list'])})"

    def space(self):
        return self.r.choice(["", "", "", " ", "\n", "\n  ", "  \n", "\t", "\n\n", "x", " y\n", "\nz ", "\r\n", " \r\n  ", "\u3000", "\x0b ", "{# c #}", "{#- c\n -#}", "  {# c #}\n", "{# c +#}\n", " {#+ c #} ", "{% raw %} {{ r }}\n{% endraw %}\n", "{%- raw -%}\n r {%- endraw -%}\n", "\n  {% raw %}\n  {% endraw +%}\n"])

    def statements(self, depth, names):
        out = []
        for _ in range(self.r.randrange(1, 4)):
            out.append(self.space())
            sign, end = self.r.choice(["", "", "", "-", "+"]), self.r.choice(["", "", "", "-", "+"])
            tag = lambda text: "{%" + sign + " " + text + " " + end + "%}"
            kind = self.r.randrange(11) if depth else 0
            name = self.r.choice(["a", "b", "c"])
            if kind <= 1:
                minus = self.r.choice(["", "", "-"])
                out.append("{{" + minus + " " + self.r.choice(names + ["loop.index", "1", "'s'"]) + " " + self.r.choice(["", "-"]) + "}}")
            elif kind == 2:
                out += [tag(f"if {self.r.choice(names)}"), self.statements(depth - 1, names), tag("else"), self.statements(depth - 1, names), tag("endif")]
            elif kind == 3:
                out += [tag(f"for {name} in {self.r.choice(['[1, 2]', 'messages', chr(39) + 'xy' + chr(39), 'range(3)', '[]'])}"), self.statements(depth - 1, names + [name]), tag("endfor")]
            elif kind == 4:
                out.append(tag(f"set {name} = {self.r.choice(['5', chr(39) + 'v' + chr(39), 'a', '[1]', 'b or 1'])}"))
            elif kind == 5:
                out += [tag(f"set {name}"), self.statements(depth - 1, names), tag("endset")]
            elif kind == 6:
                out += [tag(f"macro m({name}=1)"), self.statements(depth - 1, names + [name]), tag("endmacro"), "{{ m(" + self.r.choice(["", "2", f"{name}=3"]) + ") }}"]
            elif kind == 7:
                out += [tag(f"with {name} = {self.r.choice(['5', 'a', 'b'])}"), self.statements(depth - 1, names + [name]), tag("endwith")]
            elif kind == 8:
                out += [tag("macro k(p=0)"), "<{{ caller(p) }}{{ a }}>", tag("endmacro"), tag(f"call({name}) k({self.r.choice(['', '7'])})"), self.statements(depth - 1, names + [name]), tag("endcall")]
            elif kind == 9:
                out += [tag("set ns = namespace(v=0)"), tag("for i in range(3)"), tag(f"set ns.v = ns.v + {self.r.choice(['i', '1', 'loop.index'])}"), self.r.choice(["{% continue %}", "{% if i == 1 %}{% break %}{% endif %}", ""]), self.statements(depth - 1, names), tag("endfor"), "{{ ns.v }}"]
            else:
                out += [tag(f"filter {self.r.choice(['upper', 'trim', 'indent(1)'])}"), self.statements(depth - 1, names), tag("endfilter")]
            out.append(self.space())
        return "".join(out)


def main():
    """With a number as argument: other random templates, to look for differences with."""
    seed, factor, path = (int(sys.argv[1]), 10, sys.argv[2]) if len(sys.argv) > 2 else (13, 1, os.path.join(HERE, "jinja.json"))
    warnings.simplefilter("ignore")
    sources = []
    for group in HAND.values():
        # Split at single bars, which no expression has but for filters (with spaces around) and inside strings ('|').
        parts, quote, part = [], None, ""
        for i, c in enumerate(group):
            if quote is None and c == "|" and not (group[i - 1] == " " and group[i + 1] == " "):
                parts.append(part)
                part = ""
                continue
            if c in "'\"" and group[i - 1] != "\\":
                quote = None if quote == c else c if quote is None else quote
            part += c
        parts.append(part)
        sources += ["{{ " + p + " }}" for p in parts]
    sources += BLOCKS
    made = Random(seed)
    sources += ["{{ " + made.expression(made.r.choice([1, 2, 2, 3])) + " }}" for _ in range(1200 * factor)]
    sources += [made.statements(3, ["a", "b", "c", "messages[0].role", "nope"]) for _ in range(300 * factor)]
    sources = [s for s in dict.fromkeys(sources) if len(s) < 1200]
    cases = [(s, rendered(s)) for s in sources]
    # Texts with an address in them tell nothing.
    cases = [(s, w) for s, w in cases if w is None or (" at 0x" not in w and len(w) < 3000)]
    with open(path, "w", encoding="utf-8") as file:
        file.write("{\n" + f' "versions": {json.dumps({"jinja2": jinja2.__version__, "python": platform.python_version()})},\n')
        file.write(f' "messages": {json.dumps(MESSAGES)},\n')
        file.write(' "cases": [\n' + ",\n".join("  " + json.dumps(case) for case in cases) + "\n ]\n}\n")
    print(len(cases), "cases,", sum(w is None for _, w in cases), "that Jinja2 refuses")


main()
